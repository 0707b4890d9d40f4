"""A link between two programs of this machine: late, or dead, so that packets vanish and nobody is told (half-open TCP)."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/filter.h: a program of one instruction that keeps no byte of a packet. The kernel runs it before TCP sees the
# packet, so nothing is acknowledged, as behind a firewall that forgot the connection.
_SO_ATTACH_FILTER = 26
_RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)


class Link:
    """Passes on what comes in at `port`, until it is cut; each connection so many seconds after it was made.

    ``target``: an address of TCP, or the path of a unix socket.
    """

    def __init__(self, target: tuple[str, int] | str, late_s: float = 0.0) -> None:
        self._target, self._late_s = target, late_s
        self._over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self.port: int = self._listening.getsockname()[1]

    def cut(self) -> None:
        """Let every packet of the connections that are open now vanish; later connections pass."""
        program = ctypes.create_string_buffer(_RETURN_NOTHING)
        with self._lock:
            for end in self._ends:
                end.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))

    @contextmanager
    def running(self) -> Iterator[Link]:
        """The link; at the end every connection is closed."""
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._over.set()
            # Wakes accept(), which closing alone does not.
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            with self._lock:
                for end in self._ends:
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                    end.close()

    def _accept(self) -> None:
        while True:
            try:
                front, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self._ends.append(front)
            threading.Thread(target=self._join, args=(front,), daemon=True).start()

    def _join(self, front: socket.socket) -> None:
        if self._over.wait(self._late_s):
            return
        behind = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
        behind.connect(self._target)
        with self._lock:
            self._ends.append(behind)
        threading.Thread(target=_copy, args=(behind, front), daemon=True).start()
        _copy(front, behind)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
