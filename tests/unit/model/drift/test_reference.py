"""What the bundles say of the films that they were trained on."""

from __future__ import annotations

import csv
import json
from importlib import resources

import numpy as np
import pytest
from PIL import Image

from model.drift.measures import OF_INPUT, Measure, bin_of
from model.drift.reference import INPUTS_FILE, count_inputs, training_reference
from model.errors import BundleError
from model.input_statistics import input_statistics
from model.labels import Label
from model.serving.bundle import builtin_folder


@pytest.mark.parametrize(("name", "has_scope"), [("auscult-1", True), ("auscult-2", True), ("notebook-1", False)])
def test_the_bundles_that_ship_know_their_scores_and_their_films(name, has_scope):
    found = training_reference(builtin_folder() / name)
    assert set(found.classes) == {Measure.SCORE, *OF_INPUT, *([Measure.UNLIKENESS] if has_scope else [])}
    for measure in (*OF_INPUT, *([Measure.UNLIKENESS] if has_scope else [])):
        assert [int(one.sum()) for one in found.classes[measure]] == [1341, 3875]


def test_the_scores_are_those_of_the_validation_films():
    with (builtin_folder() / "auscult-2" / "validation.csv").open(encoding="utf-8", newline="") as stream:
        rows = [(row["target"], bin_of(Measure.SCORE, float(row["logit"]))) for row in csv.DictReader(stream)]
    for target, counts in zip(
        "01", training_reference(builtin_folder() / "auscult-2").classes[Measure.SCORE], strict=True
    ):
        assert counts.tolist() == np.bincount([place for one, place in rows if one == target], minlength=42).tolist()


@pytest.mark.data
def test_the_films_are_those_of_the_public_training_set(test_data):
    """All normal films again, by the code of today: 1 s of CPU."""
    known = json.loads((resources.files("model.drift") / INPUTS_FILE).read_text(encoding="utf-8"))
    folder = test_data / "chest_xray" / "train" / Label.NORMAL
    films = [input_statistics(np.asarray(Image.open(path).convert("L"))) for path in folder.iterdir()]
    assert {measure.value: counts.tolist() for measure, counts in count_inputs(films).items()} == {
        name: classes[0] for name, classes in known["classes"].items()
    }


def test_a_folder_that_is_no_bundle_is_named(tmp_path):
    with pytest.raises(BundleError):
        training_reference(tmp_path)
