"""The PACS of a soak: sends each study when it is due and, like any PACS, again until every film is acknowledged."""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydicom.uid import generate_uid

from dicom_io.client.send import send
from dicom_io.create.phantom import demo_studies
from dicom_io.errors import DicomIoError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from benchmarks.soak.plan import Plan
    from benchmarks.soak.site import Served

SENDERS = 3
#: Side of a film in pixels: small, so that a week's films fit into an hour of two cores.
SIDE = 192
RETRY_S = 1.0


@dataclass(slots=True)
class Traffic:
    """Sends the studies of a plan; `acknowledged` holds each study's UID with the moment of its last acknowledgement."""

    plan: Plan
    served: Served
    acknowledged: dict[str, float] = field(default_factory=dict)
    retries: int = 0
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)
    _began: float = 0.0

    def start(self, began: float) -> None:
        """Begin to send."""
        self._began = began
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    @property
    def is_done(self) -> bool:
        """Whether every study is acknowledged."""
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def behind_s(self) -> float:
        """How late the next study is."""
        return max(0.0, time.monotonic() - self._began - self.plan.due(self._next))

    def _take(self) -> int | None:
        with self._lock:
            number = self._next
            self._next += 1
        return number if number < self.plan.studies else None

    def _run(self) -> None:
        base = small_film()
        while (number := self._take()) is not None:
            pause = self._began + self.plan.due(number) - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            self._send(study_of(base, number, self.plan.films(number)))

    def _send(self, films: list[Dataset]) -> None:
        while films:
            port = self.served.port
            try:
                results = send(films, "127.0.0.1", port) if port else []
            except (DicomIoError, OSError, RuntimeError):
                results = []
            done = {result.sop_uid for result in results if result.status == 0}
            self.acknowledged.update(
                {str(ds.StudyInstanceUID): time.time() for ds in films if ds.SOPInstanceUID in done}
            )
            films = [ds for ds in films if ds.SOPInstanceUID not in done]
            if films:
                self.retries += 1
                time.sleep(RETRY_S)


def small_film() -> Dataset:
    """The drawn chest of the demo, made small."""
    ds = copy.deepcopy(next(iter(demo_studies())).dataset)
    large = ds.pixel_array
    rows = np.linspace(0, large.shape[0] - 1, SIDE).round().astype(int)
    columns = np.linspace(0, large.shape[1] - 1, SIDE).round().astype(int)
    ds.PixelData = large[np.ix_(rows, columns)].astype(np.uint16).tobytes()
    ds.Rows = ds.Columns = SIDE
    return ds


def study_of(base: Dataset, number: int, films: int) -> list[Dataset]:
    """A study of a patient of its own, its films with pixels of their own."""
    study, series, made = generate_uid(), generate_uid(), []
    pixels = np.frombuffer(base.PixelData, np.uint16).reshape(SIDE, SIDE)
    for film in range(films):
        # A shallow copy of a data set shares its elements.
        ds = copy.deepcopy(base)
        noise = np.random.default_rng(number * 10 + film).integers(0, 16, (SIDE, SIDE)).astype(np.uint16)
        ds.PixelData = (pixels + noise).tobytes()
        ds.PatientID, ds.PatientName = f"SOAK{number}", f"Soak^{number}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        made.append(ds)
    return made
