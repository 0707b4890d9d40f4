"""The site decides what becomes of a film that a rule of the gate speaks against, and may decide otherwise later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicom_io.create.phantom import drawn_chests
from dicom_io.create.radiograph import radiograph
from tests.support.objects import new_uid
from tests.support.sites import new_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tests.support.running import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

#: A rule of the header and one of the picture: the films that they speak against, by accession number.
ADULT, NEGATIVE = "ADULT", "NEGATIVE"
Answers = dict[str, tuple[str, str | None, list[str]]]
RULES = {ADULT: "AGE_OUT_OF_RANGE", NEGATIVE: "INVERTED_PICTURE"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with the rules' own policies."""
    with new_site(gate_policy="") as site:
        yield site


def chest(folder: Path, accession: str, pixels: NDArray[np.uint8], age: str = "003Y") -> Path:
    ds = radiograph(pixels, 8, (new_uid(), new_uid(), new_uid()))
    ds.AccessionNumber, ds.PatientAge, ds.BodyPartExamined, ds.ViewPosition = accession, age, "CHEST", "AP"
    path = folder / f"{accession}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def answers(site: Site) -> Answers:
    rows = site.query("SELECT * FROM worklist")
    return {row["accession_number"]: (row["ai_status"], row["reason"], json.loads(row["flags"])) for row in rows}


def decided(policy: str) -> str:
    return ",".join(f"{rule}={policy}" for rule in RULES.values())


def test_a_film_is_refused_flagged_or_accepted_and_a_re_run_judges_by_the_policies_of_its_day(
    site: Site, tmp_path: Path
) -> None:
    normal = drawn_chests()["NORMAL"]
    files = [chest(tmp_path, ADULT, normal, "045Y"), chest(tmp_path, NEGATIVE, 255 - normal)]
    site.run("ingest", tmp_path)
    refused: Answers = {name: ("NOT_APPLICABLE", rule, []) for name, rule in RULES.items()}
    assert answers(site) == refused
    for policy, flags in (("flag", RULES), ("accept", {})):
        site.env["AUSCULT_GATE_POLICY"] = decided(policy)
        report = site.json("rerun", "--all", "--why", f"the site now says {policy}")
        assert [report[name] for name in ("total", "done", "failed")] == [2, 2, 0]
        expected = {name: ("FINAL", None, [flags[name]] if flags else []) for name in RULES}
        assert answers(site) == expected
        assert _classified(site, files) == {name: ("OK", None, wanted[2]) for name, wanted in expected.items()}
    site.env["AUSCULT_GATE_POLICY"] = ""
    site.run("rerun", "--all")
    assert answers(site) == refused
    assert _classified(site, files) == refused


def test_show_tells_the_flags_of_an_answer(site: Site, tmp_path: Path) -> None:
    site.env["AUSCULT_GATE_POLICY"] = "AGE_OUT_OF_RANGE=flag"
    path = chest(tmp_path, "FLAGGED", drawn_chests()["NORMAL"], "045Y")
    site.run("ingest", path)
    found = site.json("show", "FLAGGED")
    assert found[0]["flags"] == ["AGE_OUT_OF_RANGE"]
    assert "AGE_OUT_OF_RANGE" in site.run("show", "FLAGGED").stdout
    site.env["AUSCULT_GATE_POLICY"] = ""


@pytest.mark.parametrize("command", [("ingest", "."), ("classify", "film.dcm"), ("up",), ("work",)])
def test_no_command_starts_with_a_policy_that_means_nothing(command: tuple[str, ...]) -> None:
    with new_site(gate_policy="NO_PIXEL_DATA=accept") as site:
        done = site.run(*command, check=2)
    assert "the policy of NO_PIXEL_DATA cannot be changed" in done.stderr
    assert "Traceback" not in done.stderr


def _classified(site: Site, files: list[Path]) -> dict[str, tuple[Any, Any, Any]]:
    found = site.json("classify", *files)
    by_name = zip((path.stem for path in files), found, strict=True)
    return {name: (answer["outcome"], answer["reason"], answer["flags"]) for name, answer in by_name}
