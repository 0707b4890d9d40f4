"""Pictures wrapped as DICOM: the same film as the picture itself, and nothing of the file's name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dicom_io.create.wrap import wrap_picture
from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom, film_of_picture
from dicom_io.gate.judge import AgeRange, GateInput, judge
from dicom_io.header.elements import valid_uid
from dicom_io.header.reader import read_facts
from dicom_io.reasons import Reason
from tests.support.films import ramp

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "DOE_JANE.jpeg"
    grey = ramp(601, 777, dtype=np.uint8, top=255)
    Image.fromarray(np.dstack((grey, grey, grey))).save(path, quality=90)
    return path


def wrapped(path: Path) -> Path:
    target = path.with_name("wrapped.dcm")
    wrap_picture(path).save_as(target, enforce_file_format=True)
    return target


def test_the_wrapped_picture_has_the_film_of_the_picture(jpeg: Path) -> None:
    assert film_of_dicom(wrapped(jpeg)).sha256 == film_of_picture(jpeg).sha256


def test_the_wrapped_picture_passes_the_gate_with_flags_for_what_is_unknown(jpeg: Path) -> None:
    verdict = judge(GateInput(read_facts(wrapped(jpeg)), AgeRange(1, 5)))
    assert verdict.reason is None
    assert verdict.flags == (Reason.VIEW_UNKNOWN, Reason.AGE_UNKNOWN)


def test_the_same_picture_is_the_same_object_under_any_name(jpeg: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jpeg"
    shutil.copy(jpeg, other)
    assert wrap_picture(jpeg) == wrap_picture(other)
    assert "DOE" not in str(wrap_picture(jpeg))


def test_another_picture_is_another_study(jpeg: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.open(jpeg).save(other)
    one, two = wrap_picture(jpeg), wrap_picture(other)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID"):
        assert one[keyword].value != two[keyword].value


def test_its_uids_are_valid_and_differ(jpeg: Path) -> None:
    ds = wrap_picture(jpeg)
    uids = [str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)]
    assert len(set(uids)) == 3
    assert all(valid_uid(uid) and uid.startswith("2.25.") for uid in uids)


def test_it_is_a_dicom_file_other_programs_read(jpeg: Path) -> None:
    ds = dcmread(wrapped(jpeg))
    assert ds.pixel_array.shape == (601, 777)
    assert (ds.Modality, ds.BodyPartExamined, ds.PhotometricInterpretation) == ("DX", "CHEST", "MONOCHROME2")


def test_another_body_part_may_be_named(jpeg: Path) -> None:
    assert wrap_picture(jpeg, body_part="HAND").BodyPartExamined == "HAND"


def test_a_file_that_is_not_a_picture_is_not_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "text.jpeg"
    path.write_text("no picture")
    with pytest.raises(FilmError) as caught:
        wrap_picture(path)
    assert caught.value.reason is Reason.NOT_DICOM


@pytest.mark.data
@pytest.mark.parametrize("folder", ["val/NORMAL", "val/PNEUMONIA", "fullres_train_samples"])
def test_real_films_wrapped_have_the_film_of_the_picture(folder: str, test_data: Path, tmp_path: Path) -> None:
    pictures = sorted(
        path for path in (test_data / "chest_xray" / folder).rglob("*") if path.suffix in (".jpeg", ".jpg", ".png")
    )
    assert len(pictures) >= 6
    for path in pictures:
        target = tmp_path / "wrapped.dcm"
        wrap_picture(path).save_as(target, enforce_file_format=True)
        assert film_of_dicom(target).sha256 == film_of_picture(path).sha256
