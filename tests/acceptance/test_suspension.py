"""The stop rule by command: a suspended model's NORMAL is withheld, and a person decides what becomes of its answers."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.helpers_bundle import second_bundle
from tests.support.running import Site
from tests.support.studies import chest_film

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

#: Between the answers to the clearer and to the more opaque of the drawn films.
THRESHOLD = 0.9999998
USAGE = 2
NOTICE = "Not a medical device"
EVENTS = "SELECT event, who, why FROM model_event WHERE detail IS NOT NULL ORDER BY id"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A NORMAL and a PNEUMONIA by the active model; no worker runs."""
    folder = Path(tempfile.mkdtemp(prefix="auscult-stop-", dir="/tmp"))
    site = Site(folder / "home", {"AUSCULT_MODELS_DIR": str(folder / "models"), "AUSCULT_MODEL": "notebook-3"})
    second_bundle(folder / "models", version="3", threshold=THRESHOLD)
    taken(site, clear=0.0, ill=0.1)
    yield site
    shutil.rmtree(folder, ignore_errors=True)


def taken(site: Site, **films: float) -> None:
    """Films by their accession numbers, taken in and judged."""
    incoming = Path(tempfile.mkdtemp(prefix="incoming-", dir=site.home.parent))
    for name, opacity in films.items():
        chest_film(opacity, AccessionNumber=name).save_as(incoming / f"{name}.dcm")
    site.run("ingest", incoming)


def answers(site: Site) -> dict[str, tuple[Any, ...]]:
    rows = site.worklist().values()
    return {row["accession_number"]: (row["ai_status"], row["label"], row["reason"], row["flags"]) for row in rows}


def test_a_model_is_suspended_and_its_answers_are_scored_again_by_another(site: Site) -> None:
    before = {"clear": ("FINAL", "NORMAL", None, "[]"), "ill": ("FINAL", "PNEUMONIA", None, "[]")}
    assert answers(site) == before
    refused = site.run("model", "suspend", "--why", "audit", check=USAGE)
    assert "1 say NORMAL and would withhold it, 1 say PNEUMONIA and would be flagged" in refused.stderr
    assert answers(site) == before, "nobody has confirmed it"

    done = site.run("model", "suspend", "--why", "audit", "--who", "dr.ada", "--yes")
    assert NOTICE in done.stdout
    taken(site, later=0.05)
    withheld = ("WITHHELD", None, "MODEL_SUSPENDED", '["MODEL_SUSPENDED"]')
    flagged = ("FINAL", "PNEUMONIA", None, '["MODEL_SUSPENDED"]')
    assert answers(site) == {"clear": withheld, "ill": flagged, "later": withheld}
    listed = {row["bundle"]: row["suspended"] for row in site.json("model", "list")}
    assert (listed["notebook-3"]["who"], listed["notebook-3"]["why"]) == ("dr.ada", "audit")
    assert listed["notebook-1"] is None
    assert "notebook-3 is suspended by dr.ada (audit)" in site.run("model", "show").stderr
    probes = {probe["probe"]: probe["level"] for probe in site.json("status", check=None)["probes"]}
    assert probes["SUSPENDED"] == "WARN"

    site.run("model", "activate", "notebook-1", "--yes")
    assert "give one of --release" in site.run("model", "resume", "--why", "fixed", "--yes", check=USAGE).stderr
    report = site.json("model", "resume", "--rerun", "--why", "fixed", "--who", "dr.ada", "--yes")
    assert (report["scored_by"], report["done"], report["failed"]) == ("notebook-1", 3, 0)
    assert NOTICE in report["notice"]
    assert answers(site) == dict.fromkeys(("clear", "ill", "later"), before["ill"])
    assert [tuple(event.values()) for event in site.query(EVENTS)] == [
        ("SUSPENDED", "dr.ada", "audit"),
        ("REQUEUED", "dr.ada", "fixed"),
    ]


def test_a_suspended_model_is_not_activated_without_a_question(site: Site) -> None:
    site.run("model", "suspend", "notebook-3", "--why", "still wrong", "--yes")
    refused = site.run("model", "activate", "notebook-3", check=USAGE)
    assert "it is suspended, so its NORMAL would be withheld" in refused.stderr
    said = site.run("classify", next(site.home.parent.glob("incoming-*/clear.dcm")), "--model", "notebook-3")
    assert "notebook-3 is suspended" in said.stderr
    site.run("model", "resume", "--release", "--why", "it was right", "--yes")
