"""Auscult's listener as a process of its own.

``python -m benchmarks.ingest.listener SPOOL PORT [--collect] [--no-digests]``: ``--collect`` takes pynetdicom's path, and
``--no-digests`` leaves out the SHA-256 of each object, so that the rest can be compared with a receiver that has none.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_io.header.digests import ReceivedDigests
from dicom_io.inbox import streamed
from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.listener.listener import Listener
from dicom_io.listener.options import ListenerOptions
from tests.support.listening import CollectingListener

if TYPE_CHECKING:
    from collections.abc import Sequence


class Ignored:
    """Callbacks that do nothing."""

    def on_instance(self, key: str, study_uid: str, association: int) -> None:
        pass

    def on_association_closed(self, association: int, clean: bool) -> None:
        pass


class NoDigests:
    """In the place of `DigestsBehind`: nothing is hashed."""

    is_behind = False

    def __init__(self, *_: object) -> None:
        pass

    def update(self, parts: Sequence[bytes | memoryview]) -> None:
        pass

    def wait(self) -> None:
        pass

    def result(self) -> ReceivedDigests:
        return ReceivedDigests("", "", 0, None, 0)


def main() -> None:
    """Serve until SIGTERM."""
    root, port = Path(sys.argv[1]), int(sys.argv[2])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if "--no-digests" in sys.argv:
        streamed.DigestsBehind = NoDigests  # type: ignore[assignment, attr-defined]
    kind = CollectingListener if "--collect" in sys.argv else Listener
    listener = kind(ListenerOptions(port=port), Spool(root), Journal(root), Ignored())
    listener.start()
    stop.wait()
    listener.stop()


if __name__ == "__main__":
    main()
