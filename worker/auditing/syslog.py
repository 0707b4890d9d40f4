"""Messages to a syslog receiver over TLS (RFC 5425), each batch over a connection of its own that is closed in order.

Syslog has no acknowledgement. A batch counts as delivered when the receiver has answered our closure: TLS delivers in
order, so it has then read every message. Anything else is a failure, and the batch is sent again: at least once.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from dicom_io.network.tls import client_context
from worker.auditing.message import framed
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicom_io.network.tls import TlsFiles
    from worker.addresses import SyslogReceiver

#: Longest wait for a connection, for room to send, and for the answer to our closure.
TIMEOUT_S = 10.0
#: Bytes that are sent at once.
BLOCK = 1 << 20


class SyslogAway(WorkerError):
    """The syslog receiver did not take a batch."""

    exit_code = 1


def deliver(receiver: SyslogReceiver, files: TlsFiles, messages: Iterable[bytes]) -> None:
    """Send messages; raises SyslogAway unless the receiver has read all of them, TlsInvalid for unusable files."""
    context = client_context(files)
    context.sslsocket_class = ssl.SSLSocket
    # RFC 5425 section 5.2: the receiver's certificate names the host that was asked for.
    context.check_hostname = True
    try:
        with (
            socket.create_connection((receiver.host, receiver.port), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=receiver.host) as connection,
        ):
            for some in _blocks(map(framed, messages)):
                connection.sendall(some)
            _close(connection)
    except ssl.SSLCertVerificationError as error:
        raise SyslogAway(f"{receiver}: its certificate is not accepted ({error.verify_message})") from error
    except ssl.SSLError as error:
        raise SyslogAway(f"{receiver}: TLS failed ({error.reason or 'closed by the receiver'})") from error
    except OSError as error:
        raise SyslogAway(f"{receiver}: {error.strerror or 'no answer in time'}") from error


def _blocks(frames: Iterable[bytes]) -> Iterator[bytes]:
    """The frames in blocks of some size: one TLS record for each would be slow, all at once may be much."""
    block = bytearray()
    for frame in frames:
        block += frame
        if len(block) >= BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _close(connection: ssl.SSLSocket) -> None:
    """Close, and wait until the receiver has closed too: it has then read everything before."""
    try:
        connection.unwrap().close()
    except ssl.SSLEOFError:
        # It closed the connection without TLS's own closure, as many do; a reset is another error.
        return
