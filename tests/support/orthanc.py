"""Orthanc, the open DICOM archive, as a peer: a server of our own, steered by its REST."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.servers import OwnServer, free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.debian import Peers

LOCAL = "127.0.0.1"
AET = "ORTHANC"
#: What Orthanc calls Auscult.
PEER = "auscult"
STARTS = 3
REST_TIMEOUT_S = 30.0
FINISHED = ("Success", "Failure")
#: Whatever proxy the environment names is for other machines.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Orthanc(OwnServer):
    """One Orthanc with an index and a storage of its own, which are gone with it; its log stays in the test's folder."""

    name = "Orthanc"
    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL
    #: How much it logs.
    options: ClassVar[tuple[str, ...]] = ("--verbose-dicom", "--verbose-jobs")

    def __init__(self, program: Peers, folder: Path, **configuration: Any) -> None:
        super().__init__("auscult-orthanc-", environment={**program.environment, "LC_ALL": "C.UTF-8"})
        self._log = folder / "orthanc.log"
        self._program = program.programs["Orthanc"]
        self._configuration = configuration
        self.port = self.http_port = 0

    def start(self) -> None:
        """Start it on free ports and wait until it answers; where somebody was quicker to take one, on others."""
        for left in reversed(range(STARTS)):
            try:
                super().start()
                break
            except RuntimeError:
                self._process = None
                if not left:
                    raise

    def _command(self) -> list[str]:
        self.port, self.http_port = free_port(), free_port()
        path = self.root / "orthanc.json"
        path.write_text(json.dumps(self._settings()), encoding="utf-8")
        return [self._program, *self.options, str(path)]

    def _settings(self) -> dict[str, Any]:
        return {
            "Name": "tests",
            "DicomAet": AET,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "StorageDirectory": str(self.root / "storage"),
            "IndexDirectory": str(self.root / "index"),
            "Plugins": [],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            # Else an association stays open for some seconds after the last object of a rule.
            "DicomAssociationCloseDelay": 0,
            "SyncStorageArea": False,
            "StableAge": 1,
            "JobsHistorySize": 100,
            "SaveJobs": False,
            **self._configuration,
        }

    def _answers(self) -> bool:
        with suppress(OSError):
            return bool(self.rest("system")["DicomPort"] == self.port)
        return False

    def rest(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Ask its REST: GET, or POST where there is a body (a file's bytes, or what JSON can say)."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        url = f"http://{LOCAL}:{self.http_port}/{path}"
        request = urllib.request.Request(url, data, method=method)
        try:
            with _DIRECT.open(request, timeout=REST_TIMEOUT_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            msg = f"Orthanc answers {error.code} to {path}: {error.read()!r}"
            raise AssertionError(msg) from error
        return json.loads(text) if text else None

    def file(self, instance: str) -> bytes:
        """An instance of Orthanc's own name, as the DICOM file that it keeps."""
        url = f"http://{LOCAL}:{self.http_port}/instances/{instance}/file"
        with _DIRECT.open(url, timeout=REST_TIMEOUT_S) as answer:
            return bytes(answer.read())

    def knows(self, port: int, **options: Any) -> None:
        """Tell Orthanc where Auscult listens."""
        modality = {"AET": "AUSCULT", "Host": LOCAL, "Port": port, **options}
        self.rest(f"modalities/{PEER}", modality, method="PUT")

    def put(self, files: Sequence[Path]) -> str:
        """Give Orthanc the files of a study by its REST; returns its own name for the study."""
        return str([self.rest("instances", path.read_bytes()) for path in files][-1]["ParentStudy"])

    def send(self, *resources: str, **options: Any) -> str:
        """Let Orthanc push studies, series or instances of its own names; returns the job."""
        body = {"Resources": resources, "Synchronous": False, **options}
        return str(self.rest(f"modalities/{PEER}/store", body)["ID"])

    def finished(self, job: str) -> dict[str, Any]:
        """A job's report, once Orthanc has ended it well or badly."""

        def report() -> dict[str, Any] | None:
            found: dict[str, Any] = self.rest(f"jobs/{job}")
            return found if found["State"] in FINISHED else None

        return wait_until(report, 60, "Orthanc's job to end")

    def ask_for_commitment(self, *objects: tuple[str, str]) -> str:
        """Ask Auscult whether objects (class and instance) are safe there; returns the transaction."""
        asked = {"DicomInstances": objects}
        return str(self.rest(f"modalities/{PEER}/storage-commitment", asked)["ID"])

    def commitment(self, transaction_uid: str) -> dict[str, Any]:
        """What Auscult has reported, once it has."""

        def report() -> dict[str, Any] | None:
            found: dict[str, Any] = self.rest(f"storage-commitment/{transaction_uid}")
            return found if found["Status"] != "Pending" else None

        return wait_until(report, 60, "the report of the storage commitment")

    def resubmit(self, job: str) -> None:
        """Begin a failed job anew."""
        self.rest(f"jobs/{job}/resubmit", b"")

    def recoded(self, study: str, transfer_syntax_uid: str) -> str:
        """Let Orthanc make a copy of a study, with UIDs of its own, in another transfer syntax; returns its name."""
        wanted = {"Transcode": transfer_syntax_uid, "KeepSource": True}
        return str(self.rest(f"studies/{study}/modify", wanted)["ID"])

    def uid_of(self, study: str) -> str:
        """The Study Instance UID of a study of Orthanc's name."""
        return str(self.rest(f"studies/{study}")["MainDicomTags"]["StudyInstanceUID"])
