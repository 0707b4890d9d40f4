"""Viewers for a browser, served to this machine: OHIF with an archive's DICOMweb behind it, and dwv with one file."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.support.npm import DWV, KONVA, part_of
from tests.support.sites import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


#: Else a tour for newcomers begins whenever the page has time for it, and its words lie over the picture.
_NO_TOUR = "localStorage.setItem('shownTours', '[\"basicViewerTour\"]');"


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Handler(_Quiet):
    def __init__(self, *arguments: object, archive_port: int, **others: object) -> None:
        self._archive_port = archive_port
        super().__init__(*arguments, **others)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith((DICOM_WEB, "/wado")):
            self._pass_on()
        elif path == "/app-config.js":
            script = f"{_NO_TOUR} window.config = {json.dumps(_CONFIGURATION)};"
            self._answer(200, "text/javascript", script.encode())
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


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """A browser that goes away in the middle of an answer is no error."""


#: dwv without what reads archives of files and what selects by colour.
_DWV_PAGE = """<!doctype html><meta charset="utf-8"><title>dwv</title><body style="margin:0;background:#000">
<div id="layerGroup0" style="width:900px;height:900px"></div><script src="konva.min.js"></script>
<script type="importmap">{"imports": {"konva": "data:text/javascript,export default window.Konva",
"jszip": "data:text/javascript,export default {}", "magic-wand-tool": "data:text/javascript,export default {}"}}</script>
<script type="module">
import {App, AppOptions, ViewConfig} from "./dist/dwv.min.js";
window.said = [];
const app = new App();
app.init(new AppOptions({"*": [new ViewConfig("layerGroup0")]}));
for (const name of ["load", "renderend", "error", "loaderror"]) {
  app.addEventListener(name, event => window.said.push(name + (event.error ? ": " + event.error : "")));
}
app.loadURLs([location.origin + "/shown.dcm"]);
</script>"""


@contextlib.contextmanager
def dwv(folder: Path, shown: Path) -> Iterator[str]:
    """Serve a page on which dwv shows a file; yields its address. `window.said` names what dwv has done."""
    (folder / "index.html").write_text(_DWV_PAGE, encoding="utf-8")
    for name, target in {"dist": part_of(DWV), "konva.min.js": part_of(KONVA), "shown.dcm": shown}.items():
        (folder / name).symlink_to(target)
    with _served(functools.partial(_Quiet, directory=str(folder))) as url:
        yield f"{url}/index.html"


@contextlib.contextmanager
def ohif(files: Path, archive_port: int) -> Iterator[str]:
    """Serve the viewer, with the archive behind it; yields its address."""
    with _served(functools.partial(_Handler, directory=str(files), archive_port=archive_port)) as url:
        yield url


@contextlib.contextmanager
def _served(handler: Callable[..., SimpleHTTPRequestHandler]) -> Iterator[str]:
    with _Server((LOCAL, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{LOCAL}:{server.server_port}"
        finally:
            server.shutdown()
