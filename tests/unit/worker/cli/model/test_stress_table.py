"""`auscult model stress-table` and `card`, on bundles that are no networks and on the shipped one."""

from __future__ import annotations

import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from model.augmentation.perturb import PERTURBATIONS
from model.labels import Label
from model.operating.stress_table import Stressed, write_stressed
from model.serving.bundle import builtin_folder
from model.serving.manifest import write_manifest
from tests.support.helpers_bundle import LOGITS, TARGETS, bundle_by_hand, drawn_film, manifest_by_hand
from worker.cli.command import app


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AUSCULT_HOME", str(tmp_path / "home"))


def kept(folder, loss: float = 0.0):
    """A bundle that keeps answers; ``loss`` is taken off the logits of the last row."""
    path = bundle_by_hand(folder)
    logits = np.tile(LOGITS, (len(PERTURBATIONS), 1))
    logits[-1] -= loss
    names, roles = (tuple(getattr(each, key) for each in PERTURBATIONS) for key in ("name", "role"))
    write_stressed(path / "stress.npz", Stressed(names, roles, np.array(TARGETS, float), np.arange(8), logits))
    write_manifest(path, manifest_by_hand())
    return path


def test_the_table_comes_from_what_the_bundle_keeps_with_a_chart(tmp_path):
    path = kept(tmp_path / "hand-1", loss=1.0)
    chart = tmp_path / "charts" / "hand.png"
    done = CliRunner().invoke(app, ["model", "stress-table", str(path), "--json", "--out", str(chart)])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["bundle"] == "hand-1"
    assert document["judged"].startswith("kept in the bundle")
    assert document["seen_in_training"] == 0
    assert document["holds"] == {"fit": True, "check": False, "all": False}
    assert chart.read_bytes().startswith(b"\x89PNG")
    done = CliRunner().invoke(app, ["model", "stress-table", str(path), "--csv"])
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["name"] for row in rows] == [each.name for each in PERTURBATIONS]
    assert float(rows[0]["sensitivity"]) == 0.8
    done = CliRunner().invoke(app, ["model", "stress-table", str(path)])
    assert "Not a medical device" in done.stdout


def test_an_older_bundle_needs_films_and_warns_that_its_network_may_know_them(tmp_path):
    done = CliRunner().invoke(app, ["model", "stress-table", "notebook-1"])
    assert done.exit_code
    assert "give labelled films to judge" in (done.output + str(done.exception))
    films = tmp_path / "films"
    for label in Label:
        (films / label).mkdir(parents=True)
        Image.fromarray(drawn_film(label, 1, 160)).save(films / label / "a.png")
    done = CliRunner().invoke(app, ["model", "stress-table", "notebook-1", str(films), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["judged"] == "the network as it is served"
    assert (document["films"], len(document["rows"])) == (2, len(PERTURBATIONS))


def test_a_card_is_written_again_with_evidence_from_a_file(tmp_path):
    path = tmp_path / "notebook-1"
    shutil.copytree(builtin_folder() / "notebook-1", path)
    rows = json.loads((path / "bundle.json").read_text(encoding="utf-8"))["external"]
    rows[0]["title"] = "Films of the clinic on the hill"
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    done = CliRunner().invoke(app, ["model", "card", str(path), "--external", str(tmp_path / "rows.json")])
    assert done.exit_code == 0, done.output
    assert "Films of the clinic on the hill" in (path / "MODEL_CARD.md").read_text(encoding="utf-8")
