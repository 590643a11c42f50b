"""Where the command `p2pkad` begins: before anything takes time, Ctrl-C is given its meaning.

Half of what a short command takes is imports. A KeyboardInterrupt in the middle of them would show somebody else's traceback,
or be caught by a module that tries whether another one is there. Nothing is open yet that would have to be closed.

What is imported stays: to look for garbage among it takes a tenth of a short command, so nobody does (process.py goes on).
"""

import gc
import os
import signal
import sys


def main() -> None:
    """Run the command of this process, and end with its exit code."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: os._exit(128 + number))
    gc.disable()
    from p2pkad.cli.main import main as run  # noqa: PLC0415 - see above

    sys.exit(run())
