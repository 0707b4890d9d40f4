"""An archive that can be told to misbehave: pynetdicom's storage SCP with storage commitment."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.dimse_messages import N_ACTION_RSP
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.client.commitment import STORAGE_COMMITMENT_INSTANCE_UID
from dicom_io.network.pynetdicom_setup import quiet_network_libraries
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID
from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOCAL = "127.0.0.1"
AET = "ARCHIVE"
REPORT, HEAT_MAP, NOTE = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.59"
KINDS = {REPORT: "REPORT", HEAT_MAP: "HEAT_MAP", NOTE: "REJECTION_NOTE"}
STALL_S = 90.0


class Archive:
    """One archive; its port is known before it is started."""

    def __init__(self, *, commits: str = "", kinds: Iterable[str] = (REPORT, HEAT_MAP, NOTE)) -> None:
        #: How it answers requests for storage commitment: "" (it offers none), "never", "same" (association), "failed",
        #: "partly": over the same association too, as if it had been asked for the first object alone.
        self.commits = commits
        self.port = free_port()
        self.objects: dict[str, Dataset] = {}
        self.stores: Counter[str] = Counter()
        self.asked = 0
        #: What every C-STORE is answered with, but success is stored alone.
        self.status = 0x0000
        #: Held at an object of this class until it is released.
        self.stalls_at = ""
        self.stalled, self.released = threading.Event(), threading.Event()
        self._ae = AE(AET)
        for uid in (*kinds, Verification):
            self._ae.add_supported_context(uid)
        if commits:
            self._ae.add_supported_context(STORAGE_COMMITMENT_UID)
        self._server: Any = None
        self._waiting: dict[Any, Dataset] = {}

    @property
    def address(self) -> str:
        return f"{AET}@{LOCAL}:{self.port}"

    def refuse(self, *, everybody: bool) -> None:
        """Reject associations of unknown callers, so all of them; or take them again."""
        self._ae.require_calling_aet = ["NOBODY"] if everybody else []

    def start(self) -> None:
        quiet_network_libraries()
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._action),
            (evt.EVT_DIMSE_SENT, self._sent),
        ]
        self._server = self._ae.start_server((LOCAL, self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        self.released.set()
        if self._server is not None:
            self._server.shutdown()

    @contextmanager
    def running(self) -> Iterator[Archive]:
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def kinds(self) -> list[str]:
        """What it has, by kind."""
        return sorted(KINDS[str(ds.SOPClassUID)] for ds in self.objects.values())

    def _store(self, event: Any) -> int:
        ds = event.dataset
        if str(ds.SOPClassUID) == self.stalls_at:
            self.stalled.set()
            self.released.wait(STALL_S)
        if self.status in (0x0000, 0xB000):
            self.objects[str(ds.SOPInstanceUID)] = ds
            self.stores[str(ds.SOPInstanceUID)] += 1
        return self.status

    def _action(self, event: Any) -> tuple[int, None]:
        self.asked += 1
        self._waiting[event.assoc] = event.action_information
        return 0x0000, None

    def _sent(self, event: Any) -> None:
        """Answer a request once it is known to have been accepted."""
        if isinstance(event.message, N_ACTION_RSP) and self.commits in ("same", "failed", "partly"):
            asked = self._waiting.pop(event.assoc)
            threading.Thread(target=self._report, args=(event.assoc, asked), daemon=True).start()

    def _report(self, association: Any, asked: Dataset) -> None:
        """Answer over the same association."""
        told = Dataset()
        told.TransactionUID = asked.TransactionUID
        if self.commits == "failed":
            for item in asked.ReferencedSOPSequence:
                item.FailureReason = 0x0112
            told.FailedSOPSequence = asked.ReferencedSOPSequence
        else:
            first = 1 if self.commits == "partly" else None
            told.ReferencedSOPSequence = asked.ReferencedSOPSequence[:first]
        kind = 2 if self.commits == "failed" else 1
        association.send_n_event_report(told, kind, STORAGE_COMMITMENT_UID, STORAGE_COMMITMENT_INSTANCE_UID)
