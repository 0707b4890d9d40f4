"""A film with corrected names goes through real classification once: the answer is that of judging it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from dicom_io.create.phantom import demo_studies
from dicom_io.film.film import film_of_dicom
from model.serving.bundle import builtin_folder, load_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from tests.support.running import DEFAULT_MODEL
from worker.batches.ingest import ingest
from worker.database import open_database
from worker.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_a_corrected_film_keeps_its_score_and_another_window_is_judged(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", quiet_s=0)
    database = open_database(settings)
    ds = demo_studies()[0].dataset
    versions = [
        {},
        {"PatientID": "CORRECTED", "PatientName": "Right^Name", "AccessionNumber": "A7"},
        {"WindowCenter": "60", "WindowWidth": "120"},
    ]
    try:
        for number, changes in enumerate(versions):
            for name, value in changes.items():
                setattr(ds, name, value)
            path = tmp_path / f"{number}.dcm"
            ds.save_as(path, enforce_file_format=True)
            ingest(settings, database, [path])
        with database.sessions() as session:
            results = session.execute(text("SELECT * FROM result_history ORDER BY result_id")).mappings().all()
            claimed = session.execute(text("SELECT count(*) FROM task WHERE attempts > 0")).scalar_one()
    finally:
        database.dispose()
    assert [row["taken_from_result_id"] for row in results] == [None, results[0]["result_id"], None]
    # What the rules of the picture say of the other window does not matter here: it was looked at.
    assert (claimed, [row["outcome"] for row in results][:2]) == (2, ["OK"] * 2)
    bundle = load_bundle(builtin_folder() / DEFAULT_MODEL)
    score = Classifier(bundle, open_engine(bundle, "litert")).score(film_of_dicom(tmp_path / "1.dcm").pixels)
    assert results[1]["probability"] == pytest.approx(score.probability, abs=1e-6)
    assert results[1]["probability"] == results[0]["probability"]
    assert results[2]["film_sha256"] != results[1]["film_sha256"]
