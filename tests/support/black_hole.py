"""A link between two programs of this machine that can go dead: packets vanish, and nobody is told (half-open TCP)."""

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
    """Passes on what comes in at `port`, until it is cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
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
            behind = socket.create_connection(self._target)
            with self._lock:
                self._ends += [front, behind]
            for source, sink in ((front, behind), (behind, front)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
