"""A receiver of webhooks over HTTP or HTTPS that checks each message as its owner would, and answers as it is told."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from standardwebhooks import Webhook

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicom_io.network.tls import TlsFiles

SECRET = base64.b64encode(bytes(range(32))).decode()


class WebhookReceiver:
    """Takes messages whose signature holds; `answers` are the statuses and headers of the next ones, then 204."""

    def __init__(self, files: TlsFiles | None = None, secret: str = SECRET) -> None:
        self.messages: list[dict[str, Any]] = []
        #: The webhook-id of each message, as it came.
        self.ids: list[str] = []
        self.paths: list[str] = []
        self.answers: list[tuple[int, Mapping[str, str]]] = []
        self._check = Webhook(secret)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if files is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(files.certificate, files.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if files else 'http'}://127.0.0.1:{self.port}/auscult/hook?token=secret-path"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> WebhookReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, count: int) -> None:
        """Until so many messages were taken."""
        wait_until(lambda: len(self.messages) >= count, what=f"{count} messages at the webhook")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                # Raises for a wrong signature or an old time: the connection then ends without an answer.
                message = receiver._check.verify(body, dict(self.headers.items()))
                assert json.loads(body) == message
                status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
                receiver.ids.append(self.headers["webhook-id"])
                receiver.paths.append(self.path)
                if status < 300:
                    receiver.messages.append(message)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the test says what it found."""

        return Handler


class Dripping:
    """A server that sends one byte of its answer every tenth of a second, and counts its connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.is_closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Dripping:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(0.1)
            while True:
                try:
                    connection.sendall(b"H")
                    if not connection.recv(65536):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        self.is_closed.set()
