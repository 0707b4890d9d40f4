"""The picture that answers "why": what it says, whom it does not name, and that a calm film looks calm."""

from __future__ import annotations

import dataclasses
import stat
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from dicom_io.film.film import Film
from model.explanation.explain import Explanation
from model.labels import Band, Label, Method
from model.notice import NOTICE
from model.serving.classifier import Score
from worker.batches.explain import Explained
from worker.cli.common.figure import FOOTER_PX, GROUND, HEADER_PX, _sums, facts_of, figure, printable, write_figure

if TYPE_CHECKING:
    from pathlib import Path

UID = "1.2.276.0.7230010.3.1.4.8323329.3219"


def explained(*, strength: float = 0.0, shape: tuple[int, int] = (270, 383), **changes: Any) -> Explained:
    film = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    grid = np.zeros((5, 5))
    grid[1, 3] = strength
    made = Explained(
        study_uid="1.2",
        sop_uid=UID,
        film=Film(film, 3),
        flags=("AGE_UNKNOWN",),
        score=Score(0.4321, -0.5, 0.65, Label.NORMAL, Band.LOW),
        model="drawn-7",
        explanation=Explanation(Method.HIRESCAM, (grid,), -0.5, -0.5 - strength / 25),
        full=10.0,
    )
    return dataclasses.replace(made, **changes)


def coloured(picture: Image.Image) -> np.ndarray:
    """How far from grey each pixel of the picture is, below its header."""
    pixels = np.asarray(picture, dtype=int)[HEADER_PX:]
    return np.asarray(np.ptp(pixels, axis=2))


def panels(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """The film, and the film with the evidence, of a picture of a film of the usual shape."""
    pixels = np.asarray(picture)[HEADER_PX : HEADER_PX + 508]
    return pixels[:, 36 : 36 + 720], pixels[:, 36 + 720 + 24 : -36]


def test_the_png_says_in_words_what_the_picture_shows(tmp_path: Path) -> None:
    write_figure(explained(), tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.info == {
            "Software": "auscult",
            "Label": "NORMAL",
            "Probability": "0.432",
            "Threshold": "0.650",
            "Band": "LOW",
            "Logit": "-0.50",
            "Flags": "AGE_UNKNOWN",
            "Model": "drawn-7",
            "Method": "HiResCAM",
            "Film version": "3",
            "SOP Instance UID": UID,
            "Notice": NOTICE,
        }


def test_the_png_is_for_its_owner_alone_and_replaces_an_older_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    path.write_bytes(b"older")
    path.chmod(0o644)
    write_figure(explained(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["why.png"]
    with Image.open(path) as picture:
        picture.verify()


def test_film_and_evidence_lie_side_by_side_and_only_the_evidence_is_coloured() -> None:
    film, evidence = panels(figure(explained(strength=10.0)))
    assert film.shape == evidence.shape
    assert np.ptp(film, axis=2).max() == 0
    rows, columns = np.nonzero(np.ptp(evidence.astype(int), axis=2) > 60)
    assert (rows.mean() / film.shape[0], columns.mean() / film.shape[1]) == pytest.approx((0.3, 0.7), abs=0.03)


def test_a_film_without_evidence_is_shown_as_it_is() -> None:
    film, evidence = panels(figure(explained()))
    assert (film == evidence).all()


def test_the_colour_of_evidence_does_not_depend_on_what_else_is_on_the_film() -> None:
    faint, strong = (np.ptp(panels(figure(explained(strength=size)))[1].astype(int), axis=2).max() for size in (1, 10))
    assert faint < strong / 4


@pytest.mark.parametrize("shape", [(1024, 256), (256, 1024), (48, 48), (256, 256)])
def test_a_film_of_any_shape_is_shown_in_its_own_aspect_at_a_readable_size(shape: tuple[int, int]) -> None:
    picture = figure(explained(shape=shape, strength=-10.0))
    rows, columns = np.nonzero(coloured(picture)[:-190] > 30)
    assert picture.width >= 1480
    assert 0.5 < (np.ptp(rows) / np.ptp(columns)) / (shape[0] / shape[1]) < 2


def test_words_that_are_long_are_made_small_and_never_run_into_one_another() -> None:
    made = explained(
        shape=(900, 300),
        sop_uid="1." + "2" * 62,
        model="a-bundle-of-a-very-long-name" * 3 + "-123.456.789",
        flags=("AGE_UNKNOWN", "BODY_PART_UNKNOWN", "VIEW_UNKNOWN", "UNLIKE_TRAINING", "SOMETHING_ELSE"),
        score=Score(0.9999, 9.0, 0.65, Label.PNEUMONIA, Band.INTERMEDIATE, 1.25),
    )
    ground = np.asarray(figure(made)) == GROUND
    footer, notice = ground[-FOOTER_PX:], ground[30:60, 1000:1040]
    assert footer[:, -36:].all(), "the right margin"
    assert footer[:, -36 - 400 - 30 : -36 - 400 - 5].all(), "between the caption and the scale"
    assert not footer[:, 36:-36].all()
    assert notice.all(), "between score and notice"


def test_what_no_font_and_no_text_chunk_can_hold_becomes_a_question_mark(tmp_path: Path) -> None:
    assert printable("a\nb\x00\u202eé肺") == "a?b????"
    write_figure(explained(model="\u80ba\n-1"), tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.info["Model"] == "??-1"


@pytest.mark.parametrize(
    ("probability", "words"), [(0.0, "below 0.001"), (0.00099, "below 0.001"), (1.0, "above 0.999"), (0.5, "0.500")]
)
def test_a_probability_is_never_written_as_certainty(probability: float, words: str, tmp_path: Path) -> None:
    label = Label.of(probability, 0.65)
    write_figure(explained(score=Score(probability, 0.0, 0.65, label)), tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as picture:
        assert picture.info["Probability"] == words
        assert "Band" not in picture.info


def test_an_occlusion_says_what_covering_does_and_claims_no_sum() -> None:
    grid = np.zeros((10, 10))
    grid[2:4, 3:5], grid[6:8, 6:8] = 1.5, -0.5
    occluded = explained(explanation=Explanation(Method.OCCLUSION, (grid,), 0.75, 0.0))
    words = _sums(occluded, occluded.explanation.over((200, 200)))
    assert words == "Logit +0.8;  covering a place moves it by -1.5 to +0.5"
    assert facts_of(occluded)["Method"] == "occlusion"
    assert figure(occluded).size == figure(explained()).size
