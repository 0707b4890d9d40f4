"""From C-STORE to the committed row: images a second."""

from __future__ import annotations

import copy
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from pydicom.uid import generate_uid

from dicom_io.client.send import send
from dicom_io.create.phantom import demo_studies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom.dataset import Dataset

FILMS = 200
DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Served:
    """A running Auscult on the embedded default."""

    home: Path
    port: int
    process: psutil.Process


@contextmanager
def serving() -> Iterator[Served]:
    """``auscult up`` in a data folder of its own, ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = {
            "AUSCULT_HOME": str(home),
            "AUSCULT_PORT": "0",
            "AUSCULT_LOG": "warning",
            "PATH": "/usr/bin:/bin",
        }
        process = subprocess.Popen([sys.executable, "-m", "worker.cli", "up"], env=environment)
        try:
            yield Served(home, _port(home), psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(60)


def films(count: int) -> list[Dataset]:
    """So many copies of the drawn chest film, each a study of its own."""
    base = next(iter(demo_studies())).dataset
    return [_renamed(base) for _ in range(count)]


def throughput() -> None:
    """Send 200 films over one association and time from the first byte to the last committed result."""
    with serving() as served:
        _push(served, films(5))
        _wait_for(served.home, 5)
        batch = films(FILMS)
        began = time.perf_counter()
        _push(served, batch)
        sent = time.perf_counter()
        _wait_for(served.home, FILMS + 5)
        done = time.perf_counter()
    size = len(batch[0].PixelData) / 1e6
    sys.stdout.write(f"{FILMS} films of {size:.1f} MB, one association, one worker\n")
    sys.stdout.write(f"acknowledged  {FILMS / (sent - began):6.1f} images a second\n")
    sys.stdout.write(f"committed     {FILMS / (done - began):6.1f} images a second, from C-STORE to the row\n")


def _renamed(base: Dataset) -> Dataset:
    ds = copy.deepcopy(base)
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _push(served: Served, datasets: Sequence[Dataset]) -> None:
    failed = [result for result in send(datasets, "127.0.0.1", served.port) if result.status != 0]
    if failed:
        msg = f"{len(failed)} objects were not accepted"
        raise RuntimeError(msg)


def _port(home: Path) -> int:
    deadline = time.monotonic() + DEADLINE_S
    path = home / "run" / "listener.port"
    while time.monotonic() < deadline:
        if path.exists():
            return int(path.read_text(encoding="ascii"))
        time.sleep(0.1)
    msg = "Auscult did not come up"
    raise TimeoutError(msg)


def _wait_for(home: Path, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    database = sqlite3.connect(f"file:{home / 'auscult.db'}?mode=ro", uri=True)
    try:
        while time.monotonic() < deadline:
            (done,) = database.execute("SELECT count(*) FROM result_history").fetchone()
            if done >= count:
                return
            time.sleep(0.05)
    finally:
        database.close()
    msg = f"not all of {count} films were judged in time"
    raise TimeoutError(msg)
