"""A study's result as DICOM objects: written by a command, kept by an archive, and known again when they come back."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import UID

from dicom_io.client.association import CALLING_AET
from dicom_io.client.send import send
from dicom_io.header.rejection import RejectionTitle
from dicom_io.results.rejection_note import WithdrawnResult, rejection_note
from dicom_io.results.source_header import source_header_of
from model.notice import NOTICE
from tests.support.orthanc import AET, Orthanc
from tests.support.results import MODEL, errors_of, reference_to, tree_of
from tests.support.sites import LOCAL, new_site
from tests.support.studies import chest_film, new_uid, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydicom.dataset import Dataset

    from tests.support.peers import Peers
    from tests.support.running import Running, Site

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

#: What stays as it was when an object of our own comes back.
ANSWER = ("ai_status", "label", "probability", "threshold", "reason", "flags", "revision", "finished_at", "n_scored")


@pytest.fixture(scope="module")
def stack() -> Iterator[Running]:
    with new_site(rejection_sources=f"{CALLING_AET}@127.0.0.0/8") as site, site.running("up") as running:
        yield running


@pytest.fixture
def site(stack: Running) -> Site:
    return stack.site


@pytest.fixture
def film(stack: Running) -> Dataset:
    """A film in a study of its own, judged."""
    ds = chest_film(0.3, PatientID=new_uid()[:30], PatientName="Doe^Jane", StudyDate="20261128", StudyTime="101500")
    push([ds], stack.port)
    finished(stack.site, ds)
    return ds


def row_of(site: Site, ds: Dataset) -> Mapping[str, Any]:
    return site.worklist()[ds.StudyInstanceUID]


def finished(site: Site, ds: Dataset) -> Mapping[str, Any]:
    def row() -> Mapping[str, Any] | None:
        found = site.worklist().get(ds.StudyInstanceUID)
        return found if found and found["ai_status"] == "FINAL" else None

    return wait_until(row, 60, "the study to be final")


def images(site: Site, ds: Dataset) -> int:
    sql = "SELECT i.id FROM image i JOIN study s ON s.id = i.study_id WHERE s.study_uid = :uid"
    return len(site.query(sql, uid=ds.StudyInstanceUID))


def result_of(site: Site, ds: Dataset, folder: Path, *options: str | Path) -> tuple[Path, Path]:
    report, heat_map = folder / "report.dcm", folder / "heat-map.dcm"
    site.run("result", ds.StudyInstanceUID, "--out", report, "--heat-map", heat_map, *options)
    return report, heat_map


def test_the_files_are_valid_for_their_owner_alone_audited_and_the_same_again(
    site: Site, film: Dataset, dicom3tools: Peers, dsrdump: Peers, tmp_path: Path
) -> None:
    report, heat_map = result_of(site, film, tmp_path)
    for path in (report, heat_map):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert errors_of(dicom3tools, path) == []
    assert '(233604007,SCT,"Pneumonia")' in tree_of(dsrdump, report)
    made, picture = dcmread(report), dcmread(heat_map)
    assert (made.PatientName, made.StudyDate, made.StudyTime) == ("Doe^Jane", "20261128", "101500")
    assert made.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[
        0
    ].ReferencedSOPInstanceUID == (film.SOPInstanceUID)
    assert made.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[1].ReferencedSOPSequence[
        0
    ].ReferencedSOPInstanceUID == (picture.SOPInstanceUID)
    assert NOTICE in made.SeriesDescription
    assert (picture.BurnedInAnnotation, picture.pixel_array.ndim) == ("YES", 3)
    (tmp_path / "again").mkdir()
    again, picture_again = result_of(site, film, tmp_path / "again")
    assert report.read_bytes() == again.read_bytes()
    second = dcmread(picture_again)
    assert second.SOPInstanceUID == picture.SOPInstanceUID
    # Evidence that is computed again differs by rounding, which moves a line by less than a pixel.
    assert np.abs(second.pixel_array.astype(int) - picture.pixel_array).mean() < 0.1
    events = site.query(
        "SELECT sop_uid, detail FROM audit WHERE act = 'RESULT_OBJECTS_EXPORTED' AND study_uid = :uid",
        uid=film.StudyInstanceUID,
    )
    assert [event["sop_uid"] for event in events] == [made.SOPInstanceUID] * 2
    assert "heat map" in events[0]["detail"]


def test_a_file_that_exists_is_not_replaced_and_a_report_may_replace_an_earlier_one(
    site: Site, film: Dataset, tmp_path: Path
) -> None:
    report, heat_map = result_of(site, film, tmp_path)
    refused = site.run("result", film.StudyInstanceUID, "--out", report, check=2)
    assert "exists" in refused.stderr
    newer = tmp_path / "newer.dcm"
    said = site.json("result", film.StudyInstanceUID, "--out", newer, "--replaces", report)
    assert said["replaces_sop_uid"] == dcmread(report).SOPInstanceUID
    made = dcmread(newer)
    assert "PredecessorDocumentsSequence" in made
    assert made.InstanceNumber == 2
    other = site.run("result", film.StudyInstanceUID, "--out", tmp_path / "x.dcm", "--replaces", heat_map, check=2)
    assert "is not a report" in other.stderr
    assert not (tmp_path / "x.dcm").exists()


def test_what_was_not_judged_has_no_object(stack: Running, tmp_path: Path) -> None:
    lateral = chest_film(0.1, ViewPosition="LL", PatientID="0816")
    push([lateral], stack.port)
    wait_until(
        lambda: stack.site.worklist().get(lateral.StudyInstanceUID, {}).get("ai_status") == "NOT_APPLICABLE",
        60,
        "the study to end",
    )
    out = tmp_path / "report.dcm"
    refused = stack.site.run("result", lateral.StudyInstanceUID, "--out", out, check=2)
    assert "LATERAL_VIEW" in refused.stderr
    assert not out.exists()
    unknown = stack.site.run("result", "1.2.3.4", "--out", out, check=2)
    assert "no study matches" in unknown.stderr


def test_a_conflict_about_the_patient_silences_a_study(stack: Running, tmp_path: Path) -> None:
    study = new_uid()
    films = [chest_film(0.3, StudyInstanceUID=study, PatientID=patient) for patient in ("one", "two")]
    push(films, stack.port)
    sql = "SELECT study_uid FROM conflicts JOIN worklist ON study_uid = held_study_uid WHERE study_uid = :uid AND flags LIKE '%CONFLICT%' AND ai_status NOT IN ('RECEIVING', 'QUEUED', 'PROVISIONAL')"
    wait_until(lambda: stack.site.query(sql, uid=study), 60, "the conflict to be on record")
    refused = stack.site.run("result", study, "--side", "0", "--out", tmp_path / "report.dcm", check=2)
    assert "IDENTITY_CONFLICT" in refused.stderr
    several = stack.site.run("result", study, "--out", tmp_path / "report.dcm", check=2)
    assert "--side" in several.stderr


def test_our_own_objects_that_come_back_are_kept_and_change_nothing(
    stack: Running, film: Dataset, tmp_path: Path
) -> None:
    site = stack.site
    before = row_of(site, film)
    report, heat_map = result_of(site, film, tmp_path)
    push([report, heat_map], stack.port)
    wait_until(lambda: images(site, film) == 3, 60, "both objects to be registered")
    after = row_of(site, film)
    assert {name: after[name] for name in ANSWER} == {name: before[name] for name in ANSWER}
    ended = site.query(
        "SELECT r.outcome, r.reason_code, t.attempts, t.state FROM result r JOIN task t ON t.id = r.task_id "
        "JOIN image i ON i.id = r.image_id JOIN study s ON s.id = i.study_id "
        "WHERE s.study_uid = :uid AND r.reason_code IS NOT NULL",
        uid=film.StudyInstanceUID,
    )
    expected = {"outcome": "NOT_APPLICABLE", "reason_code": "OWN_RESULT", "attempts": 0, "state": "DONE"}
    assert ended == [expected, expected]
    assert site.json("fsck")["left"] == 0
    # A re-run judges the film again and refuses what came back.
    site.run("rerun", "--study", film.StudyInstanceUID, "--why", "a test", "--yes", check=None)
    assert row_of(site, film)["label"] == before["label"]


def test_a_result_that_names_another_patient_by_now_opens_no_conflict(
    stack: Running, film: Dataset, tmp_path: Path
) -> None:
    site = stack.site
    before = row_of(site, film)
    report, _ = result_of(site, film, tmp_path)
    changed = dcmread(report)
    changed.PatientID, changed.PatientName = "SOMEBODY ELSE", "Else^Somebody"
    push([changed], stack.port)
    wait_until(lambda: images(site, film) == 2, 60, "the object to be registered")
    after = row_of(site, film)
    assert {name: after[name] for name in (*ANSWER, "patient_id")} == {
        name: before[name] for name in (*ANSWER, "patient_id")
    }
    assert not site.query("SELECT conflict_id FROM conflicts WHERE held_study_uid = :uid", uid=film.StudyInstanceUID)
    assert not [row for row in site.json("correction", "list") if row["study_uid"] == film.StudyInstanceUID]


@pytest.mark.parametrize("title", [RejectionTitle.PATIENT_SAFETY, RejectionTitle.QUALITY])
def test_our_own_rejection_note_that_comes_back_from_a_listed_source_withdraws_nothing(
    stack: Running, film: Dataset, tmp_path: Path, title: RejectionTitle
) -> None:
    site = stack.site
    before = row_of(site, film)
    report, heat_map = (dcmread(path) for path in result_of(site, film, tmp_path))
    gone = WithdrawnResult(
        model=MODEL, withdrawn_at=datetime.now(UTC), objects=(reference_to(report), reference_to(heat_map))
    )
    note = rejection_note(gone, source_header_of(report), title)
    push([report, heat_map, note], stack.port)
    wait_until(lambda: images(site, film) == 4, 60, "the three objects to be registered")
    after = row_of(site, film)
    assert {name: after[name] for name in ANSWER} == {name: before[name] for name in ANSWER}
    reason = "SELECT r.reason_code FROM result r JOIN image i ON i.id = r.image_id WHERE i.sop_uid = :sop"
    assert site.query(reason, sop=note.SOPInstanceUID) == [{"reason_code": "OWN_RESULT"}]

    def notes() -> Any:
        return site.json("withdrawal", "list", "--study", film.StudyInstanceUID)

    assert notes() == []
    # The hospital's note about the same objects is one, also where an archive has copied our equipment into it.
    note.Manufacturer, note.SOPInstanceUID = "An archive", UID(new_uid())
    note.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
    push([note], stack.port)
    states = wait_until(lambda: [row["state"] for row in notes()], 60, "the hospital's note to be on record")
    assert states == ["APPLIED", "APPLIED"]
    after = row_of(site, film)
    assert {name: after[name] for name in ANSWER} == {name: before[name] for name in ANSWER}


def test_a_result_that_comes_before_its_film_leaves_the_answer_to_the_film(
    stack: Running, film: Dataset, tmp_path: Path
) -> None:
    report, _ = result_of(stack.site, film, tmp_path)
    moved, later = dcmread(report), chest_film(0.3, PatientID="0817")
    moved.StudyInstanceUID, moved.PatientID = later.StudyInstanceUID, "0817"
    moved.SOPInstanceUID = moved.file_meta.MediaStorageSOPInstanceUID = UID(new_uid())
    push([moved], stack.port)
    wait_until(lambda: images(stack.site, later) == 1, 60, "the object to be registered")
    push([later], stack.port)
    row = finished(stack.site, later)
    assert row["label"] is not None
    assert row["n_scored"] == 1


def test_orthanc_keeps_every_value_of_the_objects(
    site: Site, film: Dataset, orthanc_program: Peers, tmp_path: Path
) -> None:
    report, heat_map = result_of(site, film, tmp_path)
    with Orthanc(orthanc_program, tmp_path).running() as archive:
        results = send([report, heat_map], LOCAL, archive.port, called_aet=AET)
        assert [result.status for result in results] == [0, 0]
        for path in (report, heat_map):
            ours = dcmread(path)
            (name,) = archive.rest("tools/lookup", str(ours.SOPInstanceUID).encode())
            kept = tmp_path / f"kept-{path.name}"
            kept.write_bytes(archive.file(name["ID"]))
            theirs = dcmread(kept)
            assert theirs == ours
            assert theirs.file_meta.TransferSyntaxUID == ours.file_meta.TransferSyntaxUID
