"""A listener as a process of its own, for tests that kill, limit or trace it; the real command comes with the worker."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.listener.listener import Listener
from dicom_io.listener.options import ListenerOptions


def say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Printed:
    def on_instance(self, key: str, study_uid: str, association: int) -> None:
        say(event="instance", key=key, study_uid=study_uid, association=association)

    def on_association_closed(self, association: int, clean: bool) -> None:
        say(event="closed", association=association, clean=clean)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("spool", type=Path)
    parser.add_argument("--file-limit", type=int, help="RLIMIT_FSIZE, bytes")
    parser.add_argument("--object-limit", type=int, default=ListenerOptions().max_object_mb, help="MiB")
    parser.add_argument("--network-timeout", type=float, default=30.0)
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)
    if arguments.file_limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (arguments.file_limit, arguments.file_limit))
    options = ListenerOptions(port=0, network_timeout_s=arguments.network_timeout, max_object_mb=arguments.object_limit)
    listener = Listener(options, Spool(arguments.spool), Journal(arguments.spool), Printed())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    listener.start()
    say(event="listening", port=listener.port, pid=os.getpid())
    # A traced process may get the signal on another thread, which does not wake the main thread's wait.
    while not stop.wait(0.5):
        pass
    listener.stop()
    say(event="stopped", modules=sorted(sys.modules))


if __name__ == "__main__":
    main()
