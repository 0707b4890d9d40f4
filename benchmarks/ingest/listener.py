"""Auscult's listener as a process of its own: ``python -m benchmarks.ingest.listener SPOOL PORT [--collect]``."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.listener.listener import Listener
from dicom_io.listener.options import ListenerOptions
from tests.support.listening import CollectingListener


class Ignored:
    """Callbacks that do nothing."""

    def on_instance(self, key: str, study_uid: str, association: int) -> None:
        pass

    def on_association_closed(self, association: int, clean: bool) -> None:
        pass


def main() -> None:
    """Serve until SIGTERM."""
    root, port = Path(sys.argv[1]), int(sys.argv[2])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    kind = CollectingListener if "--collect" in sys.argv else Listener
    listener = kind(ListenerOptions(port=port), Spool(root), Journal(root), Ignored())
    listener.start()
    stop.wait()
    listener.stop()


if __name__ == "__main__":
    main()
