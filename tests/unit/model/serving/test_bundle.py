from __future__ import annotations

import json

import pytest

from model.errors import BundleError
from model.serving.bundle import builtin_folder, derive, find_bundle, list_bundles, load_bundle
from model.serving.manifest import write_manifest
from tests.support.helpers_bundle import bundle_by_hand, manifest_by_hand, shipped_bundle


def test_a_whole_bundle_is_loaded(tmp_path):
    bundle = load_bundle(bundle_by_hand(tmp_path / "hand-1"))
    assert (bundle.label, bundle.input_size, bundle.threshold) == ("hand-1", 32, 0.5)
    assert bundle.age_years == (1, 5)
    assert bundle.projections == ("AP", "PA")
    assert bundle.metrics.confusion == ((2, 1), (1, 4))
    assert bundle.derived_from is None
    assert bundle.keras_path.is_file()
    assert bundle.litert_path.is_file()


@pytest.mark.parametrize("name", ["model.keras", "model.tflite", "validation.csv"])
def test_an_altered_file_is_named(tmp_path, name):
    path = bundle_by_hand(tmp_path / "hand-1") / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleError, match=rf"{name} is not the file"):
        load_bundle(path.parent)


@pytest.mark.parametrize("name", ["model.keras", "model.tflite", "validation.csv"])
def test_a_missing_file_is_named(tmp_path, name):
    path = bundle_by_hand(tmp_path / "hand-1")
    (path / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        load_bundle(path)


def test_a_threshold_changed_by_hand_is_refused(tmp_path):
    manifest = bundle_by_hand(tmp_path / "hand-1") / "bundle.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"threshold": 0.5', '"threshold": 0.6', 1))
    with pytest.raises(BundleError, match=r"was altered after it was written.*derive"):
        load_bundle(manifest.parent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not the description of a bundle"),
        ('{"format": "1"}', "not the description of a bundle"),
        ('{"format": 99}', "reads up to 3: update Auscult"),
        ('{"format": 1}', "was altered"),
    ],
)
def test_a_description_that_cannot_be_used_says_why(tmp_path, text, message):
    manifest = bundle_by_hand(tmp_path / "hand-1") / "bundle.json"
    manifest.write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=message):
        load_bundle(manifest.parent)


def test_a_folder_without_a_description_is_not_a_bundle(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["PNEUMONIA", "NORMAL"]}, "other labels"),
        ({"positive": "NORMAL"}, "other labels"),
        ({"preprocess_version": 99}, "trained with preprocessing 99"),
        ({"calibration": {"slope": 1.1}}, "incomplete"),
        ({"bands": {"low": 0.9, "high": 0.1, "observed": {}}}, "incomplete"),
        ({"threshold": 1.5}, "threshold outside 0 to 1"),
        ({"input_size": "big"}, "incomplete"),
        ({"intended_use": {}}, "incomplete"),
        ({"metrics": {}}, "incomplete"),
        ({"explanation": {"method": "tea leaves"}}, "incomplete"),
    ],
)
def test_a_bundle_that_this_version_cannot_honour_is_refused(tmp_path, changes, message):
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle_by_hand(tmp_path / "hand-1", **changes))


def test_a_description_that_lacks_a_key_is_incomplete(tmp_path):
    path = bundle_by_hand(tmp_path / "hand-1")
    manifest = manifest_by_hand()
    del manifest["network"]
    write_manifest(path, manifest)
    with pytest.raises(BundleError, match="incomplete"):
        load_bundle(path)


def test_a_bundle_is_found_by_its_name_in_the_first_folder_that_has_it(tmp_path):
    bundle_by_hand(tmp_path / "site" / "hand-1")
    bundle_by_hand(tmp_path / "shipped" / "hand-1")
    bundle_by_hand(tmp_path / "shipped" / "hand-2", version="2")
    search = [tmp_path / "absent", tmp_path / "site", tmp_path / "shipped"]
    assert find_bundle("hand-1", search).path == tmp_path / "site" / "hand-1"
    assert find_bundle("hand-2", search).path == tmp_path / "shipped" / "hand-2"
    assert find_bundle(str(tmp_path / "shipped" / "hand-1"), []).label == "hand-1"
    assert [bundle.label for bundle in list_bundles(search)] == ["hand-1", "hand-2"]


def test_an_unknown_bundle_is_answered_with_those_there_are(tmp_path):
    bundle_by_hand(tmp_path / "hand-1")
    with pytest.raises(BundleError, match="no model 'hand-9'; known: hand-1"):
        find_bundle("hand-9", [tmp_path])
    with pytest.raises(BundleError, match="known: none"):
        find_bundle("hand-9", [tmp_path / "absent"])


def test_a_folder_that_is_called_after_another_bundle_is_refused(tmp_path):
    bundle_by_hand(tmp_path / "hand-7")
    with pytest.raises(BundleError, match="holds hand-1: rename the folder"):
        find_bundle("hand-7", [tmp_path])


def test_a_derived_bundle_has_another_operating_point_and_its_own_figures(tmp_path):
    source = load_bundle(bundle_by_hand(tmp_path / "hand-1"))
    made = derive(source, tmp_path / "hand-2", name="hand", version="2", threshold=0.65)
    assert (made.label, made.threshold, made.derived_from) == ("hand-2", 0.65, "hand-1")
    assert made.weights_sha256 == source.weights_sha256
    assert made.digest != source.digest
    assert source.metrics.confusion == ((2, 1), (1, 4))
    assert made.metrics.confusion == ((3, 0), (1, 4))
    assert (made.metrics.model, made.metrics.version, made.metrics.threshold) == ("hand", "2", 0.65)
    assert made.metrics.auc == source.metrics.auc
    card = made.card_path.read_text(encoding="utf-8")
    assert card.startswith("# hand-2\n")
    assert "Derived from hand-1" in card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0.0}, "between 0 and 1"),
        ({"threshold": 1.0}, "between 0 and 1"),
        ({"name": "Two words"}, "small word"),
        ({"name": "../up"}, "small word"),
        ({"version": "latest"}, "its version a number"),
    ],
)
def test_a_bundle_that_cannot_be_is_not_derived(tmp_path, changes, message):
    source = load_bundle(bundle_by_hand(tmp_path / "hand-1"))
    wanted = {"name": "hand", "version": "2", "threshold": 0.6} | changes
    with pytest.raises(BundleError, match=message):
        derive(source, tmp_path / "new", **wanted)
    assert not (tmp_path / "new").exists()


def test_a_bundle_is_never_overwritten(tmp_path):
    source = load_bundle(bundle_by_hand(tmp_path / "hand-1"))
    with pytest.raises(BundleError, match="exists already"):
        derive(source, tmp_path / "hand-1", name="hand", version="1", threshold=0.6)


def test_the_shipped_bundles_are_whole_and_called_after_their_folders():
    for bundle in list_bundles([builtin_folder()]):
        assert bundle.path.name == bundle.label


def test_the_card_of_the_shipped_bundle_quotes_its_figures_and_limits():
    bundle = shipped_bundle()
    card = bundle.card_path.read_text(encoding="utf-8")
    description = json.loads((bundle.path / "bundle.json").read_text(encoding="utf-8"))
    for quoted in (
        f"| Accuracy | {bundle.metrics.accuracy:.4f} |",
        f"| AUC | {bundle.metrics.auc:.4f} |",
        f"threshold {bundle.threshold}",
        "Not a medical device",
        "CC BY 4.0",
        "doi:10.17632/rscbjbr9sj",
        description["training_data"]["split_digest"],
        *description["intended_use"]["limits"],
    ):
        assert quoted in card


def test_the_shipped_reference_network_reaches_what_was_asked_of_it():
    metrics = shipped_bundle().metrics
    assert metrics.n == 784
    assert metrics.auc >= 0.985
    assert metrics.accuracy >= 0.95
