"""The command line: one file per verb or group of verbs; ``command.py`` puts them together.

In: arguments and options. Out: tables, JSON or CSV on stdout, messages on stderr, and an exit code.
May import: everything else. ``common`` holds what verbs share; verbs and the group ``model`` do not import each other.

This module is the entry point. It imports almost nothing, so that Ctrl-C is handled from the start.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import NoReturn

from worker.child import Become

INTERRUPTED = 130
#: Files that a command writes may hold films and names of patients, so only their owner may read them.
OWNER_ONLY = 0o077


def main() -> None:
    """Run the command line; Ctrl-C ends it with one line at any moment."""
    os.umask(OWNER_ONLY)
    # What is imported stays; to look for garbage among it takes a tenth of a short command's time. `command` goes on.
    gc.disable()
    sys.unraisablehook = _leave_if_interrupted
    # A shell makes the processes that it starts in the background ignore Ctrl-C. Such a process goes on ignoring it.
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        while True:
            try:
                _run(is_heeded=is_heeded)
            except Become as begun:
                sys.argv = [sys.argv[0], *begun.arguments]
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except SystemExit as ended:
        # Typer turns a Ctrl-C into this.
        if ended.code == INTERRUPTED:
            _say_interrupted()
        raise
    finally:
        # Nor at the end, where Python would look at every object twice, which takes a third of that time.
        gc.freeze()
        if is_heeded:
            # Only the interpreter cleans up from here on; a Ctrl-C now ends the process silently.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def serve_forks(descriptor: int, parent: int) -> None:
    """Be the fork server as a program of its own; what it forks starts again as the command ``auscult``."""
    import socket

    from worker.processes import forkserver

    forkserver.load()
    try:
        forkserver.serve(socket.socket(fileno=descriptor), parent)
    except Become as begun:
        sys.argv = ["auscult", *begun.arguments]
    main()


def _run(*, is_heeded: bool) -> NoReturn:
    if is_heeded:
        # There is nothing to clean up yet, and any library could catch an exception in the middle of an import.
        signal.signal(signal.SIGINT, _leave)
    from worker.cli.command import run

    if is_heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(*_: object) -> None:
    _say_interrupted()
    os._exit(INTERRUPTED)


def _say_interrupted() -> None:
    os.write(2, b"auscult: interrupted\n")


def _leave_if_interrupted(lost: sys.UnraisableHookArgs) -> None:
    """End the process on a Ctrl-C inside a destructor, which Python would only print before it goes on."""
    if lost.exc_type is KeyboardInterrupt:
        _leave()
    else:
        sys.__unraisablehook__(lost)
