"""The thread that writes the file of a store, one batch after the other, and knows what is wrong with its disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

import trio

from p2pkad.errors import StoreError, StoreFailed, StoreFull
from p2pkad.store.contents import Place
from p2pkad.store.database import Batch, Database

log = logging.getLogger(__name__)

LeftOut = Mapping[Place, StoreError]
"""Entries that SQLite cannot hold, and why."""

NOTHING: LeftOut = {}

Report = Callable[[StoreError | None, LeftOut], None]


class Writer:
    """Writes to `database`, and nobody else does from the first batch on. That begins the thread; `close` ends it.

    A report is called on the event loop that handed the batch over. When that loop is over by then, the file is closed:
    nobody else will do it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._full: StoreFull | None = None
        """Until there is room: that something was written tells nothing, for a few bytes may fit on a disk that is full."""
        self._broken: StoreError | None = None
        """Until something is written."""

    @property
    def trouble(self) -> str | None:
        """What is wrong with the disk; None: nothing that is known."""
        wrong = self._broken or self._full
        return None if wrong is None else str(wrong)

    def write(self, batch: Batch, report: Report) -> None:
        """Write a batch after those before it; then tell whether it was written, and what of it was left out."""
        self._hand_over(_Job(batch, report, trio.lowlevel.current_trio_token()))

    def close(self, report: Report) -> None:
        """Close the file after all batches, and end."""
        self._hand_over(_Job(None, report, trio.lowlevel.current_trio_token()))

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread, in whichever thread this is. It has nothing left to do once the report of `close` was called."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _hand_over(self, job: _Job) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="p2pkad store", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the next batch tries again
                failure = StoreFailed(f"{self._database.path}: cannot be written ({error})")
                self._failed(failure)
                if job.batch is None:
                    self._database.close()
                job.tell(failure)
                return
            self._thread = thread
        self._jobs.put(job)

    # On the thread

    def _work(self) -> None:
        told = True
        while told and (job := self._jobs.get()).batch is not None:
            try:
                left_out = self._database.write(job.batch)
                self._succeeded()
            except Exception as error:
                failure = error if isinstance(error, StoreError) else self._mistaken(error)
                self._failed(failure)
                told = job.tell(failure)
            else:
                told = job.tell(None, left_out)
        try:
            self._database.close()
        finally:
            job.tell(None)

    def _mistaken(self, error: Exception) -> StoreError:
        # Whatever it is, those who wait are told, and the next batch is written.
        log.error("a batch could not be written", exc_info=error)
        return StoreFailed(f"{self._database.path}: a batch could not be written ({type(error).__name__}), which is a bug")

    def _failed(self, failure: StoreError) -> None:
        if isinstance(failure, StoreFull):
            self._full, self._broken = failure, None
        else:
            self._broken = failure

    def _succeeded(self) -> None:
        self._broken = None
        if self._full is not None and self._database.has_room():
            self._full = None


@dataclass(frozen=True, slots=True)
class _Job:
    """batch: None closes the file. report: called on the loop of `token` afterwards."""

    batch: Batch | None
    report: Report
    token: trio.lowlevel.TrioToken

    def tell(self, failure: StoreError | None, left_out: LeftOut = NOTHING) -> bool:
        """From the thread. False: the loop is over."""
        try:
            self.token.run_sync_soon(self.report, failure, left_out)
        except trio.RunFinishedError:
            return False
        return True
