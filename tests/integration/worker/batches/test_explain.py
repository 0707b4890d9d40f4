"""A film that is explained is that of the patient who is meant, where two have one Study Instance UID and one film's UID."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from dicom_io.create.phantom import demo_studies
from model.labels import Method
from worker.batches.explain import ExplainRequest, explain_stored
from worker.batches.ingest import ingest
from worker.errors import UsageError
from worker.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from worker.database import Database

pytestmark = pytest.mark.integration

FILMS = "SELECT study.side, image.film_sha256 FROM study JOIN image ON image.study_id = study.id ORDER BY study.side"


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_the_film_of_the_patient_who_is_meant_is_explained(
    database: Database, migrated_url: str, tmp_path: Path
) -> None:
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url, quiet_s=0)
    one, other = (made.dataset for made in demo_studies()[:2])
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(other, name, one[name].value)
    other.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    for number, ds in enumerate((one, other)):
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        ingest(settings, database, [tmp_path / f"{number}.dcm"])
    with database.engine.connect() as connection:
        films = {row.side: row.film_sha256 for row in connection.execute(text(FILMS))}
    assert len(set(films.values())) == 2
    study, sop = str(one.StudyInstanceUID), str(one.SOPInstanceUID)
    for side, sha256 in films.items():
        for image in (None, sop):
            request = ExplainRequest(method=Method.HIRESCAM, side=side)
            assert explain_stored(settings, database, study, image, request).film.sha256 == sha256
    for image in (None, sop):
        with pytest.raises(UsageError, match="--side"):
            explain_stored(settings, database, study, image, ExplainRequest())
    with pytest.raises(UsageError, match="no film"):
        explain_stored(settings, database, study, None, ExplainRequest(side=4))
