"""The demo films: each ends in the gate as it is drawn to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dicom_io.create.phantom import DemoFilm, demo_studies
from dicom_io.film.film import film_of_dicom
from dicom_io.gate.judge import AgeRange, GateInput, judge
from dicom_io.header.elements import valid_uid
from dicom_io.header.reader import facts_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def demo() -> dict[str, DemoFilm]:
    return {film.name: film for film in demo_studies()}


def test_the_demo_has_five_films_each_a_study_of_its_own(demo: dict[str, DemoFilm]) -> None:
    assert list(demo) == ["DEMO-NORMAL", "DEMO-OPACIFIED", "DEMO-LATERAL", "DEMO-ADULT", "DEMO-HAND"]
    uids = [
        str(film.dataset[k].value)
        for film in demo.values()
        for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    ]
    assert len(set(uids)) == 15
    assert all(valid_uid(uid) for uid in uids)


@pytest.mark.parametrize("name", ["DEMO-NORMAL", "DEMO-OPACIFIED", "DEMO-LATERAL", "DEMO-ADULT", "DEMO-HAND"])
def test_the_gate_says_what_the_film_expects(name: str, demo: dict[str, DemoFilm]) -> None:
    film = demo[name]
    verdict = judge(GateInput(facts_of(film.dataset), AgeRange(1, 5)))
    assert verdict.flags == ()
    assert (verdict.reason or film.expected) == film.expected
    assert (verdict.reason is None) == (film.expected in ("NORMAL", "PNEUMONIA"))


def test_a_film_is_twelve_bits_for_presentation(demo: dict[str, DemoFilm], tmp_path: Path) -> None:
    ds = demo["DEMO-NORMAL"].dataset
    assert (ds.Modality, ds.PresentationIntentType, ds.BitsStored, ds.BitsAllocated) == (
        "DX",
        "FOR PRESENTATION",
        12,
        16,
    )
    ds.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    assert film_of_dicom(tmp_path / "film.dcm").pixels.shape == (256, 256)


def test_the_lungs_are_dark_and_the_middle_is_bright(demo: dict[str, DemoFilm]) -> None:
    film = demo["DEMO-NORMAL"].dataset.pixel_array / 4095
    right, left, middle = film[450:700, 180:380].mean(), film[450:600, 780:850].mean(), film[400:700, 490:540].mean()
    assert right < 0.45
    assert left < 0.45
    assert middle > 0.6


def test_the_opacified_chest_differs_in_its_lungs_alone(demo: dict[str, DemoFilm]) -> None:
    normal, opacified = (
        demo[name].dataset.pixel_array.astype(int) / 4095 for name in ("DEMO-NORMAL", "DEMO-OPACIFIED")
    )
    assert (opacified - normal)[500:700, 250:400].mean() > 0.08
    assert np.abs((opacified - normal)[:60]).mean() < 0.01


def test_the_same_seed_gives_the_same_objects_and_another_seed_other_uids() -> None:
    again, other = demo_studies("a"), demo_studies("b")
    assert [film.dataset for film in again] == [film.dataset for film in demo_studies("a")]
    assert not {film.dataset.SOPInstanceUID for film in again} & {film.dataset.SOPInstanceUID for film in other}
    assert again[0].dataset.PixelData == other[0].dataset.PixelData
