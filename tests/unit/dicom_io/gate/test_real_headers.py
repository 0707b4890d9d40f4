"""The gate on real headers: the collection of DICOM files, and 7,469 chest radiographs of two hospitals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dicom_io.errors import NotDicom
from dicom_io.gate.judge import AgeRange, GateInput, judge
from dicom_io.header.reader import read_facts
from dicom_io.reasons import Reason
from tests.support.documents import ROOT
from tests.support.gate_table import real_films, table

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.gate.judge import Verdict

pytestmark = pytest.mark.data

CHILDREN = AgeRange(1, 5)


def _verdicts(folder: Path) -> dict[str, Verdict]:
    verdicts = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".md", ".tsv"):
            try:
                verdicts[path.relative_to(folder).as_posix()] = judge(GateInput(read_facts(path), CHILDREN))
            except NotDicom:
                continue
    return verdicts


@pytest.mark.parametrize(
    ("name", "reason", "flags"),
    [
        ("*850819.dcm", Reason.AGE_OUT_OF_RANGE, ()),
        ("*267888.dcm", Reason.AGE_OUT_OF_RANGE, ()),
        ("*RG1_J2KI.dcm", None, (Reason.AGE_UNKNOWN,)),
        ("*966_fixed.dcm", None, (Reason.AGE_UNKNOWN,)),
    ],
)
def test_the_public_chest_films_end_as_they_should(
    name: str, reason: Reason | None, flags: tuple[Reason, ...], test_data: Path
) -> None:
    path = next((test_data / "dicom" / "chest_xray").rglob(name))
    verdict = judge(GateInput(read_facts(path), CHILDREN))
    assert (verdict.reason, verdict.flags) == (reason, flags)


def test_of_all_files_only_two_chest_films_pass(test_data: Path) -> None:
    verdicts = _verdicts(test_data / "dicom")
    passed = sorted(name.rpartition("__")[2] for name, verdict in verdicts.items() if verdict.reason is None)
    assert passed == ["966_fixed.dcm", "RG1_J2KI.dcm"]
    assert Counter(verdict.reason for verdict in verdicts.values()) == {
        None: 2,
        Reason.AGE_OUT_OF_RANGE: 2,
        Reason.NO_PIXEL_DATA: 3,
        Reason.NOT_CHEST: 7,
        Reason.NOT_A_RADIOGRAPH: 297,
    }


def test_the_table_of_real_films_in_the_conformance_statement_is_what_the_gate_does(test_data: Path) -> None:
    text = (ROOT / "CONFORMANCE.md").read_text(encoding="utf-8")
    written = text.partition("<!-- real headers -->\n")[2].partition("\n<!-- /real headers -->")[0]
    assert written.splitlines() == table(real_films(test_data))


def test_headers_of_real_films_are_not_evidence_against_them(test_data: Path) -> None:
    films = [film.facts for film in real_films(test_data)]
    assert {(facts.species, facts.derivation, facts.is_test_object, facts.burned_in_annotation) for facts in films} == {
        ("", "", False, False)
    }
    assert Counter(facts.polarity_in_doubt for facts in films) == {False: 7373, True: 96}
    assert Counter(facts.body_part for facts in films) == {
        "CHEST": 4943,
        "": 2505,
        "NON GRID CHEST": 12,
        "PORTABLE CHEST": 7,
        "EXTREMETY": 2,
    }
