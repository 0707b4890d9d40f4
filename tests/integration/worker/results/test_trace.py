"""The trace of a result: what it tells of real films on both databases, and that it gives the score again."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom import dcmread
from sqlalchemy import text

from dicom_io.create.wrap import wrap_picture
from dicom_io.film.film import FILM_VERSION, Film
from dicom_io.film.store import FilmStore
from dicom_io.gate.rules import RULES
from model.input_statistics import input_statistics
from model.notice import NOTICE
from worker.batches.ingest import ingest
from worker.batches.rerun import RerunRequest, rerun
from worker.cli.common.output import _plain
from worker.db.batches.selection import Selector
from worker.errors import UsageError
from worker.results.trace import TraceRequest, trace_study
from worker.settings import load_settings
from worker.stores import store_of

if TYPE_CHECKING:
    from pathlib import Path

    from worker.database import Database
    from worker.settings import Settings

pytestmark = [pytest.mark.integration, pytest.mark.data, pytest.mark.timeout(300)]

MODEL = "auscult-2"


@dataclass
class Traced:
    """A site with two real films in studies of their own, a child's chest and a hand."""

    settings: Settings
    database: Database
    study: str = ""
    hand: str = ""

    def documents(self, study: str = "", **wanted: Any) -> list[dict[str, Any]]:
        found = trace_study(self.settings, self.database, TraceRequest(study or self.study, **wanted)).documents
        # As they are printed: whatever JSON cannot hold would show here.
        plain: list[dict[str, Any]] = json.loads(json.dumps(found, default=_plain))
        return plain

    def document(self, study: str = "", **wanted: Any) -> dict[str, Any]:
        (found,) = self.documents(study, **wanted)
        return found

    def change(self, statement: str, **values: Any) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(text(statement), values)

    def rerun(self, model: str = MODEL) -> None:
        rerun(
            self.settings,
            self.database,
            RerunRequest(Selector(study_uids=(self.study,)), model, "dr.ada", "again"),
            keep_current=False,
        )


@pytest.fixture
def site(database: Database, migrated_url: str, tmp_path: Path, test_data: Path) -> Traced:
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url, quiet_s=0)
    folder = test_data / "chest_xray" / "fullres_train_samples" / "PNEUMONIA"
    chest = wrap_picture(sorted(folder.glob("*.jpeg"))[0])
    chest.PatientID, chest.PatientName, chest.PatientAge = "PAT-7", "Doe^Jane", "003Y"
    chest.PatientBirthDate, chest.AccessionNumber, chest.ViewPosition = "20230405", "ACC-7", "AP"
    chest.WindowCenter, chest.WindowWidth = "120", "250"
    hand = wrap_picture(sorted(folder.glob("*.jpeg"))[1], body_part="HAND")
    hand.PatientID = "PAT-8"
    paths = [tmp_path / "chest.dcm", tmp_path / "hand.dcm"]
    for ds, path in zip((chest, hand), paths, strict=True):
        ds.save_as(path, enforce_file_format=True)
    ingest(settings, database, paths)
    return Traced(settings, database, str(chest.StudyInstanceUID), str(hand.StudyInstanceUID))


def test_a_trace_tells_everything_that_made_the_result(site: Traced) -> None:
    told = site.document()
    assert told["notice"] == NOTICE
    assert (told["result"]["outcome"], told["result"]["is_current"]) == ("OK", True)
    assert told["film"]["version"] == FILM_VERSION
    assert told["film"]["is_kept"]
    measured = asdict(
        input_statistics(FilmStore(site.settings.films).load(told["film"]["sha256"], FILM_VERSION).pixels)
    )
    assert told["film"]["look"] == pytest.approx(measured, rel=1e-6)
    assert site.document(site.hand)["film"]["look"] is None
    assert told["object"]["is_unaltered"] is True
    assert [receipt["source"] for receipt in told["object"]["receipts"]] == [""]
    chain = told["grey_chain"]
    assert chain["makes_the_judged_film"] is True
    assert {name: chain["applied"][name] for name in ("voi", "window_center", "modality", "inverted_by")} == {
        "voi": "WINDOW",
        "window_center": 120.0,
        "modality": "NONE",
        "inverted_by": [],
    }
    assert chain["applied"]["decoder"] == told["film"]["decoder"]
    assert told["model"]["operating_point"]["threshold"] == told["model"]["threshold"] == told["result"]["threshold"]
    assert told["model"]["operating_point"]["calibration"]["slope"] > 0
    files = told["model"]["bundle"]["files"]
    assert files["model.keras"] == told["model"]["weights_sha256"]
    assert files["model.tflite"] == told["model"]["litert_sha256"]
    assert len(told["model"]["bundle"]["manifest_sha256"]) == 64
    assert (told["work"]["attempts"], told["work"]["batch"], told["superseded_by"]) == (1, None, None)
    assert told["times"]["received_at"] <= told["times"]["judged_at"]
    work, times, versions = told["work"], told["times"], told["versions"]
    assert work["host"] == socket.gethostname()
    assert work["worker"].startswith(f"{work['host']}:{work['pid']}:")
    assert work["pid"] != os.getpid(), "films are judged by a process of their own"
    assert times["task_made_at"] <= times["claimed_at"] <= times["judged_at"]
    for name in ("auscult", "python", "libraries"):
        assert versions["judged_by"][name] == versions["traced_by"][name]
    assert versions["judged_by"]["libraries"]["ai-edge-litert"]
    # What no row holds is not made up.
    assert versions["judged_by"]["schema"] is None
    assert told["members"] is None
    assert told["again"] is None
    assert told["versions"]["traced_by"]["schema"]


def test_a_result_of_the_release_before_tells_that_its_worker_is_not_known(site: Traced) -> None:
    site.change("UPDATE result SET worker_process_id = NULL")
    site.change("UPDATE task SET claimed_at_ms = NULL")
    told = site.document()
    assert (told["work"]["worker"], told["work"]["host"], told["times"]["claimed_at"]) == (None, None, None)
    judged_by = told["versions"]["judged_by"]
    assert [judged_by[name] for name in ("auscult", "python", "libraries")] == [None] * 3


def test_a_trace_names_no_patient(site: Traced) -> None:
    written = json.dumps(site.documents("ACC-7", every=True, again=True))
    for secret in ("Doe", "Jane", "PAT-7", "20230405", "2023-04-05", "ACC-7"):
        assert secret not in written
    assert len(site.document()["object"]["patient_id_sha256"]) == 64


def test_the_rules_of_the_gate_say_what_they_did_and_would_do(site: Traced) -> None:
    told = site.document(site.hand)
    assert told["result"]["outcome"] == "NOT_APPLICABLE"
    assert told["gate"]["refused_by"] == told["result"]["reason_code"] == "NOT_CHEST"
    rules = {(rule["rule"], rule["stage"]): rule for rule in told["gate"]["rules"]}
    assert rules["NOT_CHEST", "header"]["applies"] is True
    assert rules["NOT_CHEST", "header"]["recorded_policy"] == rules["NOT_CHEST", "header"]["policy_today"] == "refuse"
    # The film was never made: what rules of the picture would say is not known.
    assert rules["TEST_PATTERN", "picture"]["applies"] is None
    assert told["film"]["why_not_kept"] == "NONE_MADE"
    judged = {rule["rule"]: rule for rule in site.document()["gate"]["rules"] if rule["stage"] == "picture"}
    assert {rule["applies"] for rule in judged.values()} == {False}


def test_a_policy_of_today_is_not_taken_for_the_one_of_then(site: Traced) -> None:
    later = load_settings(**site.settings.model_dump(exclude_unset=True) | {"gate_policy": "AGE_UNKNOWN=refuse"})
    told = Traced(later, site.database, site.study).document()
    (rule,) = [rule for rule in told["gate"]["rules"] if rule["rule"] == "AGE_UNKNOWN"]
    assert (rule["policy_today"], rule["recorded_policy"], rule["applies"]) == ("refuse", None, False)


def test_the_original_and_the_film_give_the_score_again(site: Traced) -> None:
    told = site.document(again=True)
    again = told["again"]
    assert (again["reproduced"], again["is_within_rounding"], again["engine"]) == (True, True, "litert")
    for source in ("from_original", "from_film"):
        assert again[source]["equal"] is True
        assert again[source]["is_the_judged_film"] is True
        assert again[source]["probability"] == told["result"]["probability"]
        assert again[source]["logit_difference"] == 0
    assert np.mean(told["members"]) == pytest.approx(told["result"]["logit"], abs=1e-6)
    refused = site.document(site.hand, again=True)["again"]
    assert (refused["reproduced"], refused["why_not"]) == (None, "NOT_SCORED")


def test_a_score_that_is_not_the_recorded_one_is_told(site: Traced) -> None:
    site.change("UPDATE result SET logit = logit + 1 WHERE logit IS NOT NULL")
    again = site.document(again=True)["again"]
    assert (again["reproduced"], again["is_within_rounding"]) == (False, False)
    assert again["from_film"]["logit_difference"] == pytest.approx(-1)
    assert site.document(again=True)["members"] is None
    # As another processor would round.
    site.change("UPDATE result SET logit = logit - 1.000001 WHERE logit IS NOT NULL")
    again = site.document(again=True)["again"]
    assert (again["reproduced"], again["is_within_rounding"]) == (False, True)


def test_a_film_of_an_older_version_gives_its_score_again_and_the_original_another(site: Traced) -> None:
    """The film is judged as one that the code of the version before made, while its original is away."""
    before = site.document()
    films, store = FilmStore(site.settings.films), store_of(site.settings, known=True)
    today = films.load(before["film"]["sha256"], FILM_VERSION)
    older = Film(np.ascontiguousarray(today.pixels[8:-8, 8:-8]), FILM_VERSION - 1, today.decoder)
    films.save(older)
    with site.database.engine.connect() as connection:
        select = "SELECT store_key FROM image WHERE film_sha256 = :sha256"
        key = connection.execute(text(select), {"sha256": today.sha256}).scalar_one()
    site.change(
        "UPDATE image SET film_key = :key, film_sha256 = :key, film_version = :version WHERE store_key = :store_key",
        key=older.sha256,
        version=older.version,
        store_key=key,
    )
    aside = site.settings.home / "aside.dcm"
    store.path(key).rename(aside)
    site.rerun()
    aside.rename(store.path(key))
    told = site.document(again=True)
    assert (told["film"]["version"], told["film"]["sha256"]) == (older.version, older.sha256)
    assert told["result"]["probability"] != before["result"]["probability"]
    assert told["again"]["reproduced"] is True
    assert told["again"]["from_film"]["equal"] is True
    original = told["again"]["from_original"]
    assert (original["equal"], original["is_the_judged_film"], original["film_version"]) == (False, False, FILM_VERSION)
    assert original["probability"] == before["result"]["probability"]
    assert told["grey_chain"]["makes_the_judged_film"] is False
    first, second = site.documents(every=True, again=True)
    assert (first["again"]["reproduced"], second["again"]["reproduced"]) == (True, True)
    assert first["again"]["from_film"]["film_version"] == FILM_VERSION


def test_films_of_devices_give_their_scores_again(
    database: Database, migrated_url: str, tmp_path: Path, test_data: Path
) -> None:
    """JPEG baseline, JPEG 2000 with and without loss and uncompressed, of both polarities, as they came from devices."""
    rules = [rule.reason for rule in RULES if rule.is_changeable]
    lenient = ",".join(f"{reason}=flag" for reason in dict.fromkeys(rules))
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url, quiet_s=0, gate_policy=lenient)
    ingest(settings, database, [test_data / "dicom" / "chest_xray"])
    with database.engine.connect() as connection:
        studies = connection.execute(text("SELECT DISTINCT study_uid FROM study")).scalars().all()
    site = Traced(settings, database)
    told = [document for study in studies for document in site.documents(study, again=True)]
    scored = [document for document in told if document["result"]["outcome"] == "OK"]
    assert [document["again"]["reproduced"] for document in scored] == [True] * len(scored)
    assert len({document["object"]["transfer_syntax_uid"] for document in scored}) >= 3
    assert {document["grey_chain"]["makes_the_judged_film"] for document in scored} == {True}
    assert ["MONOCHROME1"] in [document["grey_chain"]["applied"]["inverted_by"] for document in scored]


def test_a_corrected_film_tells_whose_result_it_repeats_and_what_took_its_place(site: Traced, tmp_path: Path) -> None:
    ds = dcmread(tmp_path / "chest.dcm")
    ds.PatientName = "Right^Name"
    ds.save_as(tmp_path / "corrected.dcm")
    ingest(site.settings, site.database, [tmp_path / "corrected.dcm"])
    (current,) = site.documents()
    old, new = site.documents(every=True, again=True)
    assert new["result"]["result_id"] == current["result"]["result_id"]
    assert new["result"]["taken_from_result_id"] == old["result"]["result_id"]
    assert new["work"]["worker"] == old["work"]["worker"]
    assert new["times"]["claimed_at"] is None, "nobody claimed it: the result was there"
    assert (old["object"]["is_current"], new["object_superseded_by"]) == (False, None)
    assert old["object_superseded_by"]["sha256"] == new["object"]["sha256"] != old["object"]["sha256"]
    assert [document["again"]["reproduced"] for document in (old, new)] == [True, True]


def test_a_rerun_takes_the_place_of_a_result_and_both_are_told(site: Traced) -> None:
    first = site.document()["result"]["result_id"]
    site.rerun("notebook-1")
    (current,) = site.documents()
    assert (current["model"]["name"], current["result"]["supersedes_result_id"]) == ("notebook", first)
    assert current["work"]["batch"]["ordered_by"] == "dr.ada"
    assert current["model"]["operating_point"]["calibration"] is None
    old, new = site.documents(every=True, again=True)
    assert old["result"]["result_id"] == first
    assert old["superseded_by"]["result_id"] == new["result"]["result_id"]
    assert old["superseded_by"]["model"] == "notebook-1"
    assert [document["again"]["reproduced"] for document in (old, new)] == [True, True]
    # notebook-1 was exported without the terms of its answer.
    assert (len(old["members"]), new["members"]) == (1, None)


def test_what_is_gone_or_altered_is_said_and_the_rest_is_told(site: Traced) -> None:
    before = site.document()
    films, store = FilmStore(site.settings.films), store_of(site.settings, known=True)
    with site.database.engine.connect() as connection:
        key = connection.execute(
            text("SELECT store_key FROM image WHERE film_sha256 = :film"), {"film": before["film"]["sha256"]}
        ).scalar_one()
    original = store.path(key).read_bytes()
    store.path(key).unlink()
    store.path(key).write_bytes(original[:-2] + b"\0\1")
    told = site.document(again=True)
    assert (told["object"]["is_unaltered"], told["object"]["why_not_read"]) == (False, "ALTERED")
    assert told["grey_chain"]["applied"] is None
    assert told["again"]["from_original"] == {"equal": None, "is_within_rounding": None, "why_not": "ALTERED"}
    assert told["again"]["reproduced"] is True
    films.purge(before["film"]["sha256"])
    site.change("UPDATE image SET film_purged_at = received_at WHERE store_key = :key", key=key)
    store.purge(key)
    site.change("UPDATE image SET original_purged_at = received_at WHERE store_key = :key", key=key)
    told = site.document(again=True)
    assert (told["film"]["why_not_kept"], told["object"]["why_not_read"]) == ("PURGED", "PURGED")
    assert (told["again"]["reproduced"], told["again"]["why_not"]) == (None, "MISSING")
    assert told["result"] == before["result"]


def test_a_bundle_of_the_same_name_with_other_contents_is_not_taken_for_it(site: Traced) -> None:
    site.change("UPDATE model SET digest = :digest", digest="0" * 64)
    told = site.document(again=True)
    assert (told["model"]["operating_point"], told["model"]["bundle"]) == (None, None)
    assert (told["again"]["reproduced"], told["again"]["why_not"]) == (None, "BUNDLE_UNAVAILABLE")


def test_a_store_that_is_away_is_no_missing_original(site: Traced) -> None:
    site.settings.store.rename(site.settings.home / "elsewhere")
    site.settings.store.mkdir()
    told = site.document()
    assert told["object"]["why_not_read"] == "STORE_UNAVAILABLE"
    assert told["result"]["outcome"] == "OK"


def test_an_unknown_study_or_side_is_an_error(site: Traced) -> None:
    with pytest.raises(UsageError, match=r"no study matches 1\.2\.9"):
        site.documents("1.2.9")
    with pytest.raises(UsageError, match="with side 4"):
        site.documents(side=4)
