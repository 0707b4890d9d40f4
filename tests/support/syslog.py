"""A syslog receiver over TLS (RFC 5425) that takes nothing but whole frames, and can fail in the middle of one."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from dicom_io.network.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicom_io.network.tls import TlsFiles

_HEADER = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) (?P<host>[\x21-\x7e]{1,255}) "
    rb"(?P<app>[\x21-\x7e]{1,48}) (?P<procid>[\x21-\x7e]{1,128}) (?P<msgid>[\x21-\x7e]{1,32}) - \xef\xbb\xbf"
)


@dataclass(frozen=True, slots=True)
class Received:
    """A message that is right in form: its header's fields and its XML."""

    pri: int
    msgid: str
    xml: ET.Element

    @classmethod
    def of(cls, message: bytes) -> Received:
        """Read a message; fails for any other form than that of RFC 5424 with XML behind it."""
        found = _HEADER.match(message)
        assert found, message[:200]
        return cls(int(found["pri"]), found["msgid"].decode(), ET.fromstring(message[found.end() :]))

    @property
    def event_id(self) -> int:
        """The number of the event."""
        (found,) = {
            base64.b64decode(detail.attrib["value"])
            for detail in self.xml.iter("ParticipantObjectDetail")
            if detail.attrib["type"] == "event_id"
        }
        return int(found)


def frames(data: bytes) -> Iterator[bytes]:
    """The messages of octet-counting frames; fails where they are not well formed."""
    while data:
        length, _, rest = data.partition(b" ")
        assert re.fullmatch(rb"[1-9]\d{0,9}", length), data[:20]
        assert len(rest) >= int(length), "a frame is not whole"
        yield rest[: int(length)]
        data = rest[int(length) :]


class SyslogReceiver:
    """Takes connections one after the other; `failures` of them are reset once they have brought some bytes."""

    def __init__(self, files: TlsFiles) -> None:
        self.received: list[Received] = []
        self.failures = 0
        #: Connections that are closed without TLS's own closure after everything was read.
        self.abrupt = 0
        self._context = server_context(files)
        self._context.sslsocket_class = ssl.SSLSocket
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        """The receiver as the settings name it."""
        return f"tls://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[SyslogReceiver]:
        """Serve until the end of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            # A thread in accept() sees the end of its socket only by shutdown.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._thread.join(30)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(30)
            with plain, contextlib.suppress(OSError):
                self._take(plain)

    def _take(self, plain: socket.socket) -> None:
        with self._context.wrap_socket(plain, server_side=True) as connection:
            if self.failures > 0 and connection.recv(700):
                self.failures -= 1
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            data = b""
            while part := connection.recv(65536):
                data += part
            messages = [Received.of(message) for message in frames(data)]
            self.received += messages
            if self.abrupt > 0:
                self.abrupt -= 1
                return
            connection.unwrap().close()
