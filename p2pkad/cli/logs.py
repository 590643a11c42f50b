"""Structured logs on standard error: of p2pkad, and the warnings of libraries. py-libp2p's own are for `LIBP2P_DEBUG`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

from p2pkad.ops.logs import Throttle

if TYPE_CHECKING:
    from structlog.types import Processor


def configure(level: str, form: str) -> None:
    """Write what is logged at `level` or above to standard error: as text for people, or as JSON, an object a line."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        exception_formatter=structlog.dev.plain_traceback,  # the default one shows local variables: keys and values
    )
    if form == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Throttle())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("p2pkad").setLevel(level.upper())
