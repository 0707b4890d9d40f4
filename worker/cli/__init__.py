"""The entry point of ``auscult``. It imports next to nothing, so that a Ctrl-C is answered from the first moment on."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130
#: What a command writes holds films and names of patients: it is for its owner alone.
OWNER_ONLY = 0o077


def main() -> None:
    """Run the command line; a Ctrl-C ends it with one line, wherever it is."""
    os.umask(OWNER_ONLY)
    sys.unraisablehook = _leave_for_lost
    # A shell lets what it starts in the background ignore Ctrl-C: that stays so.
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heeded:
        # Nothing to clean up yet, and an exception in the middle of an import is anybody's to catch.
        signal.signal(signal.SIGINT, _leave)
    try:
        from worker.cli.command import run

        if is_heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except SystemExit as ended:
        # Typer makes a Ctrl-C into this.
        if ended.code == INTERRUPTED:
            _say_interrupted()
        raise
    finally:
        if is_heeded:
            # From here on only the interpreter cleans up, and a Ctrl-C there ends the process without a word.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _leave(*_: object) -> None:
    _say_interrupted()
    os._exit(INTERRUPTED)


def _say_interrupted() -> None:
    os.write(2, b"auscult: interrupted\n")


def _leave_for_lost(lost: sys.UnraisableHookArgs) -> None:
    """Python would print a Ctrl-C that came in a destructor, with its frames, and go on as if there had been none."""
    if lost.exc_type is KeyboardInterrupt:
        _leave()
    else:
        sys.__unraisablehook__(lost)
