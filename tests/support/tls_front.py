"""TLS before a server that has none: what the test's Redis and PostgreSQL are built without."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicom_io.network.tls import TlsFiles

#: PostgreSQL's SSLRequest, and the answer "yes" after which the handshake begins (PostgreSQL documentation, 54.2.10).
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def at_once(_: socket.socket) -> bool:
    """The connection begins with the handshake, as with Redis."""
    return True


def after_request(connection: socket.socket) -> bool:
    """The connection begins with PostgreSQL's SSLRequest; one that does not is closed."""
    begun = connection.recv(len(SSL_REQUEST), socket.MSG_WAITALL)
    if begun != SSL_REQUEST:
        return False
    connection.sendall(b"S")
    return True


@contextmanager
def tls_front(
    certificates: TlsFiles, connect: Callable[[], socket.socket], begin: Callable[[socket.socket], bool] = at_once
) -> Iterator[int]:
    """Give the port of a TLS server that passes everything on to another one; clients need no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_accept, args=(listening, context, connect, begin), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        # Wakes accept(), which closing alone does not.
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(30)


def _accept(
    listening: socket.socket,
    context: ssl.SSLContext,
    connect: Callable[[], socket.socket],
    begin: Callable[[socket.socket], bool],
) -> None:
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(plain, context, connect, begin), daemon=True).start()


def _serve(
    plain: socket.socket,
    context: ssl.SSLContext,
    connect: Callable[[], socket.socket],
    begin: Callable[[socket.socket], bool],
) -> None:
    with plain, suppress(OSError):
        if not begin(plain):
            return
        with context.wrap_socket(plain, server_side=True) as front, connect() as behind:
            back = threading.Thread(target=_copy, args=(behind, front), daemon=True)
            back.start()
            _copy(front, behind)
            back.join(30)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
