"""Sites for the acceptance tests: a data folder each, small films to send, and looks at processes and folders."""

from __future__ import annotations

import shutil
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from tests.support.films import film, save
from tests.support.objects import new_uid
from tests.support.running import Running, Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tests.support.peers import Peers

LOCAL = "127.0.0.1"
#: dcmtk's storescu proposes one compression only, and only when told which.
PROPOSE = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}


@contextmanager
def new_site(**settings: str) -> Iterator[Site]:
    """A site of its own whose path is short enough for a unix socket; settings are named without their prefix."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-site-", dir="/tmp"))
    try:
        yield Site(folder / "home", {f"AUSCULT_{name.upper()}": value for name, value in settings.items()})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_stack(**settings: str) -> Iterator[Running]:
    """``auscult up`` on a site of its own, listening."""
    with new_site(**settings) as site, site.running("up") as running:
        assert running.port
        yield running


def push(dcmtk: Peers, port: int, files: Sequence[Path], syntax: str = "1.2.840.10008.1.2.1") -> None:
    """Send files of one transfer syntax with storescu, which ends with 0 when every one was answered 0x0000."""
    done = dcmtk.run("storescu", PROPOSE[syntax], "-R", "-aec", "AUSCULT", LOCAL, port, *files)
    assert done.returncode == 0, f"storescu ended with {done.returncode}: {done.stderr}"


def answers_echo(dcmtk: Peers, port: int) -> bool:
    """Whether C-ECHO is answered."""
    return dcmtk.run("echoscu", "-aec", "AUSCULT", LOCAL, port).returncode == 0


@dataclass(frozen=True, slots=True)
class MadeStudy:
    """A study of small films on disk."""

    uid: str
    files: list[Path]


def make_study(folder: Path, films: int = 1, uid: str | None = None, **elements: Any) -> MadeStudy:
    """Films of one study that the model may judge, each with pixels of its own."""
    study = MadeStudy(uid or new_uid(), [])
    series = new_uid()
    for number in range(films):
        sop = new_uid()
        ds = film(picture(number), StudyInstanceUID=study.uid, SeriesInstanceUID=series, SOPInstanceUID=sop, **elements)
        study.files.append(save(_named(ds), folder, f"{sop}.dcm"))
    return study


def _named(ds: Any) -> Any:
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    return ds


def picture(seed: int, rows: int = 160, columns: int = 200) -> NDArray[Any]:
    """A smooth 12-bit picture, another one for each seed."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 3000, rows * columns).reshape(rows, columns)
    return (ramp + rng.integers(0, 1000, (rows, 1))).round().astype(np.uint16)


def pids(running: Running) -> dict[int, str]:
    """The processes of a stack by their ids."""
    return {process.pid: process.name() for process in running.descendants()}


def open_to_others(folder: Path) -> list[str]:
    """Everything below a folder, itself included, that others than its owner may use in any way."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.lstat().st_mode for path in paths if not path.is_symlink()}
    return [f"{stat.filemode(mode)} {path}" for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077]


def leftover(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those of these processes that still run."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
