"""The transport beneath pynetdicom: reads and writes that end, and a wait that costs nothing.

pynetdicom's own socket blocks for ever inside a PDU and is asked a thousand times a second whether anything has come.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pynetdicom.transport import AssociationSocket

from dicom_io.connection import acknowledge

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

_HEADER_BYTES = 6
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Bell:
    """Wakes the one thread that waits in `BoundedSocket.wait`; rung by any other."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.settimeout(0)
        self._write.settimeout(0)

    def fileno(self) -> int:
        """Return the descriptor to wait for; negative once closed."""
        return self._read.fileno()

    def ring(self) -> None:
        """Wake the thread, now or when it is about to wait; harmless once closed."""
        with suppress(OSError):
            self._write.send(b"!")

    def hush(self) -> None:
        """Forget what was rung."""
        with suppress(OSError):
            self._read.recv(4096)

    def close(self) -> None:
        """Give the descriptors back."""
        self._read.close()
        self._write.close()


class BoundedSocket(AssociationSocket):
    """A connection that is never read or written beyond a deadline.

    Parameters
    ----------
    assoc : Association
        The association it carries.
    connection : socket.socket
        The accepted connection; made non-blocking.
    timeout_s : float
        Within which a PDU has to come or go whole, from its first byte on.
    """

    def __init__(self, assoc: Association, connection: socket.socket, timeout_s: float) -> None:
        super().__init__(assoc, client_socket=connection)
        connection.settimeout(0)
        self.bell: Final = Bell()
        #: The moment at which what is being read or written is given up, whatever `timeout_s` would allow.
        self.end_at = float("inf")
        self._timeout_s: Final = timeout_s
        self._deadline = float("inf")
        self._head = bytearray()

    def secure(self, context: ssl.SSLContext, timeout_s: float) -> None:
        """Do the TLS handshake.

        Raises
        ------
        ConnectionAbortedError
            If the peer has left without a word.
        OSError
            If it fails, of which `ssl.SSLError` is a kind, or is not done in time: `TimeoutError`.
        """
        self._deadline = time.monotonic() + timeout_s
        if not self._retry(self._peek, wanted=select.POLLIN):
            raise ConnectionAbortedError
        secured = context.wrap_socket(self._connection, server_side=True, do_handshake_on_connect=False)
        self.socket = secured
        self._retry(secured.do_handshake, wanted=select.POLLIN)

    @property
    def ready(self) -> bool:
        """Whether anything has come that nobody has read."""
        # Looked at once: this is asked by another thread than the one that closes it.
        connection = self.socket
        if connection is None:
            return False
        if self._head or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            return True
        return self._poll(select.POLLIN, 0)

    def arrived(self) -> bool:
        """Whether a PDU has begun or the connection has ended; starts the deadline of what `recv` then reads."""
        if self._head:
            return True
        self._deadline = min(time.monotonic() + self._timeout_s, self.end_at)
        try:
            self._head += self._connection.recv(_HEADER_BYTES)
        except _NOTHING_YET:
            return False
        except OSError:
            # A connection that was reset; reading it says so again.
            return True
        return True

    def recv(self, nr_bytes: int) -> bytearray:
        """Return `nr_bytes`, or fewer if the connection has ended.

        Raises
        ------
        TimeoutError
            If they have not come by the deadline.
        OSError
            If the connection is lost.
        """
        head = self._head[:nr_bytes]
        del self._head[:nr_bytes]
        data, filled = bytearray(nr_bytes), len(head)
        data[:filled] = head
        with memoryview(data) as view:
            while filled < nr_bytes:
                some = self._retry(self._connection.recv_into, view[filled:], wanted=select.POLLIN)
                if not some:
                    break
                filled += some
        return data[:filled] if filled < nr_bytes else data

    def send(self, bytestream: bytes) -> None:
        """Send all of `bytestream` in time; else the connection counts as lost (Evt17)."""
        self._deadline = time.monotonic() + self._timeout_s
        view = memoryview(bytestream)
        try:
            while view:
                view = view[self._retry(self._connection.send, view, wanted=select.POLLOUT) :]
        except OSError:
            self.event_queue.put("Evt17")

    def discard(self) -> bool:
        """Throw away what has come; return whether the connection has ended."""
        self._head.clear()
        try:
            return not self._connection.recv(1 << 16)
        except _NOTHING_YET:
            return False
        except OSError:
            return True

    def end_sending(self) -> None:
        """Tell the peer that nothing more comes."""
        if self.socket is not None:
            self.socket.shutdown(socket.SHUT_WR)

    def wait(self, timeout_s: float, *, readable: bool = True) -> None:
        """Wait until the bell rings, something comes (if `readable`), or the time is over."""
        poll = select.poll()
        poll.register(self.bell, select.POLLIN)
        if readable and self.socket is not None and self.socket.fileno() >= 0:
            acknowledge(self.socket)
            poll.register(self.socket, select.POLLIN)
        if any(descriptor == self.bell.fileno() for descriptor, _ in poll.poll(timeout_s * 1000)):
            self.bell.hush()

    def _peek(self) -> int:
        return len(self._connection.recv(1, socket.MSG_PEEK))

    @property
    def _connection(self) -> socket.socket:
        if self.socket is None:
            raise ConnectionAbortedError
        return self.socket

    def _retry(self, call: Callable[..., int | None], *arguments: memoryview, wanted: int) -> int:
        """Call until it goes through; in between wait for the connection, at most until the deadline."""
        while True:
            try:
                return call(*arguments) or 0
            except ssl.SSLWantReadError:
                self._await(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._await(select.POLLOUT)
            except BlockingIOError:
                self._await(wanted)

    def _await(self, wanted: int) -> None:
        left_s = self._deadline - time.monotonic()
        acknowledge(self._connection)
        if left_s <= 0 or not self._poll(wanted, left_s):
            raise TimeoutError

    def _poll(self, wanted: int, timeout_s: float) -> bool:
        poll = select.poll()
        try:
            poll.register(self._connection, wanted)
        except (OSError, ValueError):
            # Closed by another thread: reading it says so.
            return True
        return bool(poll.poll(timeout_s * 1000))
