"""The fork server as a program of its own: what it forks begins anew as the command ``auscult``."""

from __future__ import annotations

import socket
import sys

from worker.child import Become
from worker.cli import main
from worker.processes import forkserver

if __name__ == "__main__":
    forkserver.load()
    try:
        forkserver.serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    except Become as begun:
        sys.argv = ["auscult", *begun.arguments]
    main()
