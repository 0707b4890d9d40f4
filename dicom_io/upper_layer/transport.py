"""The transport below pynetdicom: reads and writes with a deadline, and a wait without polling.

pynetdicom's own socket can block for ever inside a PDU and is polled a thousand times a second.
"""

from __future__ import annotations

import mmap
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pynetdicom.transport import AssociationSocket

from dicom_io.network.connection import acknowledge

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.association import Association

#: What is read ahead at most; the pages of the buffer take memory once they are used.
BUFFER_BYTES = 1 << 20
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wakeup:
    """Wakes the thread that waits in `BoundedSocket.wait`; called by any other thread."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.settimeout(0)
        self._write.settimeout(0)

    def fileno(self) -> int:
        """Return the descriptor to wait for; negative after `close`."""
        return self._read.fileno()

    def wake(self) -> None:
        """Wake the thread, now or when it next waits; does nothing after `close`."""
        with suppress(OSError):
            self._write.send(b"!")

    def clear(self) -> None:
        """Forget earlier calls of `wake`."""
        with suppress(OSError):
            self._read.recv(4096)

    def close(self) -> None:
        """Close both descriptors."""
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
        Time in which a PDU must be received or sent, counted from its first byte, in seconds.
    most_bytes : int
        Most bytes that `take` is asked for.
    """

    def __init__(self, assoc: Association, connection: socket.socket, timeout_s: float, most_bytes: int = 0) -> None:
        super().__init__(assoc, client_socket=connection)
        connection.settimeout(0)
        self.wakeup: Final = Wakeup()
        #: When a read ends at the latest, whatever `timeout_s` allows; on the monotonic clock.
        self.end_at = float("inf")
        self._timeout_s: Final = timeout_s
        self._deadline = float("inf")
        self._buffer = memoryview(mmap.mmap(-1, max(BUFFER_BYTES, most_bytes)))
        self._spare: memoryview | None = None
        # What has arrived and is not yet taken is between these two.
        self._begin = self._end = 0

    def secure(self, context: ssl.SSLContext, timeout_s: float) -> None:
        """Do the TLS handshake.

        Raises
        ------
        ConnectionAbortedError
            If the peer closed the connection before it sent anything.
        OSError
            If the handshake fails (`ssl.SSLError`) or is not done in time (`TimeoutError`).
        """
        self._deadline = time.monotonic() + timeout_s
        if not self._retry(self._peek, wanted=select.POLLIN):
            raise ConnectionAbortedError
        secured = context.wrap_socket(self._connection, server_side=True, do_handshake_on_connect=False)
        self.socket = secured
        self._retry(secured.do_handshake, wanted=select.POLLIN)

    @property
    def ready(self) -> bool:
        """Whether bytes have arrived that are not yet read."""
        # Read only once: another thread than this one closes the socket and sets it to None.
        connection = self.socket
        if connection is None:
            return False
        if self.buffered or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            return True
        return self._poll(select.POLLIN, 0)

    @property
    def buffered(self) -> memoryview:
        """What has arrived and is not yet taken, as far as it was read; valid until the next call that reads."""
        return self._buffer[self._begin : self._end]

    def arrived(self) -> bool:
        """Whether a PDU has begun or the connection has ended; starts the deadline of the following `take`."""
        self._deadline = min(time.monotonic() + self._timeout_s, self.end_at)
        if self._begin < self._end:
            return True
        self._begin = self._end = 0
        try:
            self._end = self._read(self._connection, self._buffer)
        except _NOTHING_YET:
            return False
        except OSError:
            # The connection was reset; `take` reports it again.
            return True
        return True

    def take(self, nr_bytes: int) -> memoryview:
        """Return `nr_bytes`, or fewer if the connection has ended; valid until the next call that reads.

        Raises
        ------
        TimeoutError
            If they have not arrived by the deadline.
        OSError
            If the connection is lost.
        """
        if self._begin + nr_bytes > len(self._buffer):
            left = self._end - self._begin
            self._buffer[:left] = self._buffer[self._begin : self._end]
            self._begin, self._end = 0, left
        while self._end - self._begin < nr_bytes:
            some = self._retry(self._read, self._connection, self._buffer[self._end :], wanted=select.POLLIN)
            if not some:
                break
            self._end += some
        begin = self._begin
        self._begin = min(begin + nr_bytes, self._end)
        return self._buffer[begin : self._begin]

    def skip(self, nr_bytes: int) -> None:
        """Take the first bytes of `buffered`."""
        self._begin += nr_bytes

    def flip(self) -> None:
        """Read into another buffer from now on: what was taken stays valid until the next call but one of this."""
        left, spare = self.buffered, self._spare
        self._spare = self._buffer
        self._buffer = memoryview(mmap.mmap(-1, len(self._buffer))) if spare is None else spare
        self._buffer[: len(left)] = left
        self._begin, self._end = 0, len(left)

    def recv(self, nr_bytes: int) -> bytearray:
        """Return a copy of what `take` returns."""
        return bytearray(self.take(nr_bytes))

    @staticmethod
    def _read(connection: socket.socket, buffer: memoryview) -> int:
        """Read what has arrived; TLS gives one record of 16 KiB at a time."""
        filled = connection.recv_into(buffer)
        while isinstance(connection, ssl.SSLSocket) and 0 < filled < len(buffer):
            try:
                some = connection.recv_into(buffer[filled:])
            except OSError:
                # Nothing yet, or an end that the next call reports again.
                break
            if not some:
                break
            filled += some
        return filled

    def send(self, bytestream: bytes) -> None:
        """Send all of `bytestream` by the deadline; otherwise the connection counts as closed (Evt17)."""
        self._deadline = time.monotonic() + self._timeout_s
        view = memoryview(bytestream)
        try:
            while view:
                view = view[self._retry(self._connection.send, view, wanted=select.POLLOUT) :]
        except OSError:
            self.event_queue.put("Evt17")

    def discard(self) -> bool:
        """Drop the bytes that have arrived; return whether the connection has ended."""
        self._begin = self._end
        try:
            return not self._connection.recv(1 << 16)
        except _NOTHING_YET:
            return False
        except OSError:
            return True

    def end_sending(self) -> None:
        """Close the sending side, so that the peer sees the end."""
        if self.socket is not None:
            self.socket.shutdown(socket.SHUT_WR)

    def wait(self, timeout_s: float, *, readable: bool = True) -> None:
        """Wait for `Wakeup.wake`, for bytes (if `readable`), or for the timeout."""
        poll = select.poll()
        poll.register(self.wakeup, select.POLLIN)
        if readable and self.socket is not None and self.socket.fileno() >= 0:
            acknowledge(self.socket)
            poll.register(self.socket, select.POLLIN)
        if any(descriptor == self.wakeup.fileno() for descriptor, _ in poll.poll(timeout_s * 1000)):
            self.wakeup.clear()

    def _peek(self) -> int:
        return len(self._connection.recv(1, socket.MSG_PEEK))

    @property
    def _connection(self) -> socket.socket:
        if self.socket is None:
            raise ConnectionAbortedError
        return self.socket

    def _retry(self, call: Callable[..., int | None], *arguments: object, wanted: int) -> int:
        """Repeat a call until it succeeds; between calls wait for the connection, until the deadline at most."""
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
            # Closed by another thread; the read reports it.
            return True
        return bool(poll.poll(timeout_s * 1000))
