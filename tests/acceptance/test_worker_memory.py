"""A worker that serves by LiteRT stays small, and TensorFlow is nowhere in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.running import Site
from tests.support.studies import chest_film, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

FILMS = 200
IN_A_STUDY = 20
MOST_BYTES = 200_000_000


def is_tensorflow(path: str) -> bool:
    """Whether a mapped file belongs to TensorFlow; LiteRT's own libraries have names of that kind too."""
    parts = Path(path).parts
    return "tensorflow" in parts or "keras" in parts or parts[-1].startswith("libtensorflow")


def mapped_files(process: psutil.Process) -> set[str]:
    lines = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    return {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6 and fields[5].startswith("/")}


def test_a_litert_worker_maps_no_tensorflow_and_stays_below_200_mb_after_200_films(
    auscult_home: Path, record_property: Callable[[str, object], None]
) -> None:
    site = Site(auscult_home)
    with site.running("up") as up:
        films = [
            chest_film(number / FILMS, StudyInstanceUID=f"1.2.3.{number // IN_A_STUDY}") for number in range(FILMS)
        ]
        push(films, up.port)
        site.wait_terminal(FILMS // IN_A_STUDY, timeout_s=200)
        assert site.query("SELECT count(*) AS n FROM result WHERE outcome = 'OK'") == [{"n": FILMS}]
        # The row in SQL is as old as the last heartbeat.
        (worker,) = wait_until(
            lambda: site.query("SELECT pid, kind, engine FROM worker WHERE tasks_done >= :n", n=FILMS),
            30,
            "the worker's count",
        )
        assert (worker["kind"], worker["engine"]) == ("celery", "litert")
        child = psutil.Process(worker["pid"])
        files = mapped_files(child)
        assert any("ai_edge_litert" in file for file in files)
        assert not [file for file in files if is_tensorflow(file)]
        pss = child.memory_full_info().pss
        assert pss < MOST_BYTES, f"{pss / 1e6:.0f} MB"
        record_property("pss_bytes", pss)
