"""The OHIF viewer before an archive: its files and the archive's DICOMweb under one address of this machine."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.support.sites import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Where Orthanc's plug-in answers.
DICOM_WEB = "/dicom-web/"
_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "archive",
    "configuration": {
        "friendlyName": "Orthanc",
        "name": "orthanc",
        "qidoRoot": DICOM_WEB.rstrip("/"),
        "wadoRoot": DICOM_WEB.rstrip("/"),
        "wadoUriRoot": "/wado",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
    },
}
_CONFIGURATION = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "customizationService": {},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 1,
    "showLoadingIndicator": True,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "strictZSpacingForVolumeViewport": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "archive",
    "dataSources": [_SOURCE],
}


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: object, archive_port: int, **others: object) -> None:
        self._archive_port = archive_port
        super().__init__(*arguments, **others)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith((DICOM_WEB, "/wado")):
            self._pass_on()
        elif path == "/app-config.js":
            self._answer(200, "text/javascript", f"window.config = {json.dumps(_CONFIGURATION)};".encode())
        else:
            # An address of the viewer's own is a page of its one file.
            if "." not in path.rpartition("/")[2]:
                self.path = "/index.html"
            super().do_GET()

    def _pass_on(self) -> None:
        archive = http.client.HTTPConnection(LOCAL, self._archive_port, timeout=30)
        try:
            archive.request("GET", self.path, headers={"Accept": self.headers.get("Accept", "*/*")})
            answer = archive.getresponse()
            self._answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
        finally:
            archive.close()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """A browser that goes away in the middle of an answer is no error."""


@contextlib.contextmanager
def ohif(files: Path, archive_port: int) -> Iterator[str]:
    """Serve the viewer to this machine alone, with the archive behind it; yields its address."""
    handler = functools.partial(_Handler, directory=str(files), archive_port=archive_port)
    with _Server((LOCAL, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{LOCAL}:{server.server_port}"
        finally:
            server.shutdown()
