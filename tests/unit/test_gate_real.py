"""The gate on real headers: the collection of DICOM files, and 7,469 chest radiographs of one hospital."""

from __future__ import annotations

import ast
import csv
import dataclasses
import gzip
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from pydicom.dataset import Dataset

from dicom_io.errors import NotDicom
from dicom_io.gate import AgeRange, judge
from dicom_io.header import facts_of, read_facts
from dicom_io.reasons import Flag, Reason

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.gate import Verdict

pytestmark = pytest.mark.data

CHILDREN = AgeRange(1, 5)


def _verdicts(folder: Path) -> dict[str, Verdict]:
    verdicts = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".md", ".tsv"):
            try:
                verdicts[path.relative_to(folder).as_posix()] = judge(read_facts(path), CHILDREN)
            except NotDicom:
                continue
    return verdicts


@pytest.mark.parametrize(
    ("name", "reason", "flags"),
    [
        ("*850819.dcm", Reason.AGE_OUT_OF_RANGE, ()),
        ("*267888.dcm", Reason.AGE_OUT_OF_RANGE, ()),
        ("*RG1_J2KI.dcm", None, (Flag.AGE_UNKNOWN,)),
        ("*966_fixed.dcm", None, (Flag.AGE_UNKNOWN,)),
    ],
)
def test_the_public_chest_films_end_as_they_should(
    name: str, reason: Reason | None, flags: tuple[Flag, ...], test_data: Path
) -> None:
    path = next((test_data / "dicom" / "chest_xray").rglob(name))
    verdict = judge(read_facts(path), CHILDREN)
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


def test_the_headers_of_a_hospital_are_told_apart(test_data: Path) -> None:
    reasons: Counter[Reason | None] = Counter()
    flags: Counter[Flag] = Counter()
    with gzip.open(test_data / "real_headers" / "nlmcxr_dicom_metadata.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            facts = dataclasses.replace(
                facts_of(_data_set(row)), has_pixel_data=True, transfer_syntax_uid="1.2.840.10008.1.2.1"
            )
            verdict = judge(facts, AgeRange(0, 200))
            reasons[verdict.reason] += 1
            flags.update(verdict.flags)
    assert reasons == {None: 6601, Reason.LATERAL_VIEW: 866, Reason.NOT_CHEST: 2}
    assert flags == {Flag.VIEW_UNKNOWN: 2586, Flag.BODY_PART_UNKNOWN: 2505}


def _data_set(row: dict[str, str]) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = row["SOP Class UID"]
    ds.Modality = row["Modality"]
    ds.BodyPartExamined = row["Body Part Examined"]
    ds.ViewPosition = row["View Position"]
    ds.PatientOrientation = ast.literal_eval(row["Patient Orientation"] or "''")
    ds.StudyDate = row["Study Date"]
    ds.PatientBirthDate = row["Patient's Birth Date"]
    ds.PresentationIntentType = row["Presentation Intent Type"]
    ds.Rows, ds.Columns = int(row["Rows"]), int(row["Columns"])
    return ds
