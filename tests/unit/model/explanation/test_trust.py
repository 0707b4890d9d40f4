"""What an export measures of a network's maps, on drawn films: the maps of both engines, deletion, randomisation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from model.card.explanation import explanation_section, scope_section
from model.data.dataset import Picture
from model.errors import ExportError
from model.explanation.trust import measure_trust
from model.labels import Label
from tests.support.helpers_bundle import drawn_film
from tests.support.helpers_network import SIDE, Files, flattened, mobile, written

if TYPE_CHECKING:
    import keras
    import numpy as np

pytestmark = [
    pytest.mark.tensorflow,
    # Keras' variables under NumPy 2
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def pictures(n: int, label: Label = Label.PNEUMONIA) -> list[Picture]:
    return [Picture(Path(f"{number}.png"), label, str(number), "drawn") for number in range(n)]


def reader(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return drawn_film(Label.PNEUMONIA, int(path.stem))


def counting() -> keras.Model:
    """A network that counts white, place by place: what is covered is what its logit falls by."""
    import keras
    from keras import layers

    film = keras.Input((SIDE, SIDE, 1), name="film")
    white = layers.Conv2D(1, 8, strides=8, kernel_initializer="ones", use_bias=False)(film)
    return keras.Model(film, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(white)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return written(mobile(1), tmp_path_factory.mktemp("mobile"))


@pytest.fixture(scope="module")
def measured(files: Files) -> dict[str, Any]:
    found = measure_trust(files, pictures(12), reader)
    assert found is not None
    return found


def test_litert_and_keras_are_found_to_give_the_same_maps(measured):
    assert measured["films"] == 12
    assert 0 < measured["map_difference"] <= 1e-4


def test_maps_go_as_the_layers_forget(measured):
    found = measured["randomisation"]
    assert (found["films"], found["layers"]) == (8, 10)
    assert [step["share"] for step in found["steps"]] == [0.25, 0.5, 0.75, 1.0]
    assert all(-1 <= step[name] < 0.9 for step in found["steps"] for name in ("spearman", "structure"))


def test_covering_what_a_network_counts_lowers_its_logit_in_every_film(tmp_path):
    found = measure_trust(written(counting(), tmp_path), pictures(6), reader)
    assert found is not None
    for row in found["deletion"]:
        assert row["fall"] > max(row["elsewhere"], 0)
        assert row["further"] == 1
    # A kernel of ones has nothing that it could forget.
    assert [step["spearman"] for step in found["randomisation"]["steps"]] == pytest.approx([1] * 4)


def displaced() -> keras.Model:
    """A network that counts white in the upper half alone, by maps that lie upside down: they point at the lower half."""
    import keras
    from keras import layers

    film = keras.Input((SIDE, SIDE, 1), name="film")
    upper = layers.ZeroPadding2D(((0, SIDE // 2), (0, 0)))(layers.Cropping2D(((0, SIDE // 2), (0, 0)))(film))
    white = layers.Conv2D(1, 8, strides=8, kernel_initializer="ones", use_bias=False)(upper)
    lower = layers.ZeroPadding2D(((4, 0), (0, 0)))(layers.Cropping2D(((0, 4), (0, 0)))(white))
    return keras.Model(film, layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(lower)))


def test_a_network_whose_maps_do_not_tell_where_its_evidence_lies_is_explained_by_occlusion(tmp_path):
    found = measure_trust(written(displaced(), tmp_path), pictures(6), reader)
    assert found is not None
    assert found["method"] == "occlusion"
    assert found["passed_over"][0]["fall"] <= 3 * abs(found["passed_over"][0]["elsewhere"])
    assert all(row["fall"] > 3 * abs(row["elsewhere"]) for row in found["deletion"])
    section = explanation_section({"explanation": found})
    assert "occlusion maps" in section
    assert "HiResCAM maps of this network fail the same test" in section


def test_the_same_films_are_chosen_in_whatever_order_they_come(files, measured):
    normal = pictures(20, Label.NORMAL)
    assert measure_trust(files, [*normal, *reversed(pictures(12))], reader) == measured
    assert measure_trust(files, normal, reader) is None


def test_engines_that_give_different_maps_end_the_export(files, tmp_path):
    mixed = Files(tmp_path)
    shutil.copyfile(files.litert_path, mixed.litert_path)
    mobile(2).save(mixed.keras_path)
    with pytest.raises(ExportError, match="the maps of LiteRT and Keras differ by"):
        measure_trust(mixed, pictures(4), reader)


def test_a_network_whose_maps_keras_alone_gives_is_measured_too(tmp_path):
    found = measure_trust(written(flattened(), tmp_path), pictures(4), reader)
    assert found is not None
    assert found["map_difference"] is None
    assert len(found["deletion"]) == 2
    assert "The maps need TensorFlow" in explanation_section({"explanation": found})


def test_the_card_tells_what_was_measured(measured):
    section = explanation_section({"explanation": {**measured, "method": "hirescam", "passed_over": None}})
    assert section.startswith("## Explanations\n")
    assert "Deletion (12 films)" in section
    assert "Randomisation (8 films, 10 layers)" in section
    (tenth,) = (line for line in section.splitlines() if line.startswith("| 10% |"))
    assert tenth.split(" | ")[1] == f"{measured['deletion'][0]['fall']:.2f}"
    assert "LiteRT gives the same maps without TensorFlow" in section
    assert explanation_section({}) == explanation_section({"explanation": None}) == ""


def test_the_card_tells_how_many_films_of_each_fold_are_out_of_scope():
    section = scope_section({"scope_refused_share": 0.005, "scope_by_fold": [0.004, 0.0086]})
    assert "0.50% are called unlike. Counted again fold by fold" in section
    assert section.endswith("0.40%, 0.86%.")
    assert scope_section({"scope_refused_share": 0.005}).endswith("0.50% are called unlike.")
    assert scope_section({"scope_refused_share": None}) == ""
