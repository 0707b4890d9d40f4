"""Orthanc as the archive next door: it forwards by a rule of its own, is told what arrived, and is asked for studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread

from tests.support.certificates import Site as Hospital
from tests.support.certificates import fingerprint
from tests.support.films import DX
from tests.support.objects import new_uid
from tests.support.orthanc import AET, Orthanc
from tests.support.rejections import note_dataset
from tests.support.servers import free_port
from tests.support.sites import LOCAL, answers_echo, make_study, new_site, new_stack
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dicom_io.network.tls import TlsFiles
    from tests.support.peers import Peers
    from tests.support.running import Running, Site

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.acceptance

#: As a site writes them: a chest study goes to the reader once it is complete, an urgent one film by film.
RULES = """
function OnStableStudy(studyId, tags, metadata)
  if tags['StudyDescription'] == 'CHEST' then
    RestApiPost('/modalities/auscult/store', '{"Resources": ["' .. studyId .. '"], "Synchronous": false}')
  end
end

function OnStoredInstance(instanceId, tags, metadata)
  if tags['StudyDescription'] == 'URGENT CHEST' then
    SendToModality(instanceId, 'auscult')
  end
end
"""
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
#: What Orthanc writes by itself of a film of 12 bits.
LOSSLESS = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.57",
    JPEG_LOSSLESS,
    "1.2.840.10008.1.2.4.80",
)
LOSSY = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """An Orthanc and an Auscult that know each other."""

    archive: Orthanc
    reader: Running

    @property
    def site(self) -> Site:
        return self.reader.site


@pytest.fixture(scope="module")
def archive(orthanc_program: Peers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc")
    rules = folder / "rules.lua"
    rules.write_text(RULES, encoding="ascii")
    with Orthanc(orthanc_program, folder, LuaScripts=[str(rules)]).running() as server:
        yield server


@pytest.fixture(scope="module")
def reader(archive: Orthanc) -> Iterator[Running]:
    with new_stack(allowed_aets=AET, peers=f"PACS={AET}@{LOCAL}:{archive.port}", commitment_days="30") as running:
        yield running


@pytest.fixture
def pair(archive: Orthanc, reader: Running) -> Neighbours:
    archive.knows(reader.port)
    return Neighbours(archive, reader)


def row_of(site: Site, study_uid: str, images: int) -> Mapping[str, Any]:
    """The study's row in the worklist, once it is final with so many images."""

    def row() -> Mapping[str, Any] | None:
        found = site.worklist().get(study_uid)
        return found if found and found["ai_status"] == "FINAL" and found["n_images"] >= images else None

    return wait_until(row, 60, f"{study_uid} to be final with {images} images")


@pytest.mark.parametrize("description", ["CHEST", "URGENT CHEST"])
def test_a_study_that_orthanc_forwards_by_its_own_rule_is_one_row(
    pair: Neighbours, dcmtk: Peers, tmp_path: Path, description: str
) -> None:
    study = make_study(tmp_path, films=4, StudyDescription=description)
    sent = dcmtk.run("storescu", "-aec", AET, LOCAL, pair.archive.port, *study.files)
    assert sent.returncode == 0, sent.stderr
    row = row_of(pair.site, study.uid, 4)
    assert (row["n_images"], row["n_scored"]) == (4, 4)


def test_a_study_that_no_rule_names_stays_where_it_is(pair: Neighbours, tmp_path: Path) -> None:
    ankle = make_study(tmp_path, StudyDescription="ANKLE")
    chest = make_study(tmp_path, StudyDescription="CHEST")
    pair.archive.put(ankle.files)
    pair.archive.put(chest.files)
    row_of(pair.site, chest.uid, 1)
    assert ankle.uid not in pair.site.worklist()


def tls_of_orthanc(files: TlsFiles) -> dict[str, Any]:
    """Orthanc's configuration to speak TLS as a server, and as a client where a modality asks for it."""
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(files.certificate),
        "DicomTlsPrivateKey": str(files.key),
        "DicomTlsTrustedCertificates": str(files.authorities),
    }


def filed(site: Site, films: int) -> list[str]:
    """The SOP Instance UIDs in the database, once there are so many and the spool is empty."""

    def uids() -> list[str] | None:
        rows = site.query("SELECT sop_uid FROM image ORDER BY sop_uid")
        left = list((site.home / "spool" / "new").iterdir())
        return [row["sop_uid"] for row in rows] if len(rows) >= films and not left else None

    return wait_until(uids, what=f"{films} films to be registered")


def judged(site: Site, study_uid: str) -> tuple[str, float]:
    """The transfer syntax in which a study's only film is stored, and its probability."""
    row_of(site, study_uid, 1)
    ((syntax, probability),) = (
        row.values()
        for row in site.query(
            "SELECT transfer_syntax_uid, result.probability FROM image JOIN study ON study.id = image.study_id"
            " JOIN result ON result.image_id = image.id WHERE study_uid = :uid",
            uid=study_uid,
        )
    )
    return syntax, probability


def test_one_film_in_every_coding_that_orthanc_writes_is_judged_the_same(pair: Neighbours, tmp_path: Path) -> None:
    name = pair.archive.put(make_study(tmp_path, BitsStored=12).files)
    recoded = {syntax: pair.archive.recoded(name, syntax) for syntax in (*LOSSLESS, *LOSSY)}
    report = pair.archive.finished(pair.archive.send(*recoded.values()))
    assert (report["State"], report["Content"]["FailedInstancesCount"]) == ("Success", 0)
    stored = {syntax: judged(pair.site, pair.archive.uid_of(study)) for syntax, study in recoded.items()}
    assert {syntax: kept for syntax, (kept, _) in stored.items()} == {syntax: syntax for syntax in recoded}
    assert len({stored[syntax][1] for syntax in LOSSLESS}) == 1
    for syntax in LOSSY:
        assert stored[syntax][1] == pytest.approx(stored[LOSSLESS[0]][1], abs=0.05)


def test_what_orthanc_could_not_send_while_the_listener_was_away_arrives_once_when_sent_again(
    archive: Orthanc, dcmtk: Peers, tmp_path: Path
) -> None:
    study = make_study(tmp_path, films=16)
    with new_site(port=str(free_port())) as site:
        archive.knows(int(site.env["AUSCULT_PORT"]))
        job = archive.send(archive.put(study.files))
        assert archive.finished(job)["State"] == "Failure"
        with site.running("listen") as first:
            wait_until(lambda: answers_echo(dcmtk, first.port), what="the listener to answer")
            archive.resubmit(job)
            wait_until(lambda: any((site.home / "spool" / "new").iterdir()), what="the first film to be taken")
            first.kill()
        report = archive.finished(job)
        with site.running("listen") as second:
            wait_until(lambda: answers_echo(dcmtk, second.port), what="the listener to answer again")
            if report["State"] == "Failure":
                archive.resubmit(job)
                report = archive.finished(job)
            assert report["State"] == "Success"
            # What came before the end has come again, and is one film.
            films = filed(site, 16)
    assert films == sorted(path.stem for path in study.files)


def test_orthanc_under_another_title_is_turned_away_and_named_in_sql(pair: Neighbours, tmp_path: Path) -> None:
    study = pair.archive.put(make_study(tmp_path).files)
    report = pair.archive.finished(pair.archive.send(study, LocalAet="INTRUDER"))
    assert report["State"] == "Failure"
    wanted = "SELECT reason, peer FROM refused WHERE calling_aet = 'INTRUDER'"
    rows = wait_until(lambda: pair.site.query(wanted), what="the refusal to be in SQL")
    assert rows == [{"reason": "CALLING_AE_NOT_ALLOWED", "peer": LOCAL}]
    assert pair.archive.uid_of(study) not in pair.site.worklist()


def test_a_c_move_that_a_third_party_asks_orthanc_for_arrives(pair: Neighbours, dcmtk: Peers, tmp_path: Path) -> None:
    study = make_study(tmp_path, films=3)
    pair.archive.put(study.files)
    asked = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study.uid}")
    moved = dcmtk.run("movescu", "-S", "-aec", AET, "-aem", "AUSCULT", *asked, LOCAL, pair.archive.port)
    assert moved.returncode == 0, moved.stderr
    assert row_of(pair.site, study.uid, 3)["n_scored"] == 3


@pytest.mark.parametrize(("method", "day"), [("move", "2024-01-05"), ("get", "2024-01-06")])
def test_a_day_is_fetched_from_orthanc_once_and_complete(
    pair: Neighbours, tmp_path: Path, method: str, day: str
) -> None:
    studies = [make_study(tmp_path, films, StudyDate=day.replace("-", "")) for films in (1, 3)]
    names = [pair.archive.put(study.files) for study in studies]
    packed = pair.archive.uid_of(pair.archive.recoded(names[0], JPEG_LOSSLESS))
    asked = ("fetch", "PACS", "--from", day, "--to", day, "--method", method)
    assert pair.site.json(*asked)["counts"] == {"COMPLETE": 3}
    assert row_of(pair.site, studies[1].uid, 3)["n_images"] == 3
    assert judged(pair.site, studies[0].uid) == ("1.2.840.10008.1.2.1", judged(pair.site, packed)[1])
    assert judged(pair.site, packed)[0] == JPEG_LOSSLESS
    assert pair.site.json(*asked)["counts"] == {"PRESENT": 3}


def test_orthanc_is_told_that_what_it_sent_is_safe(pair: Neighbours, tmp_path: Path) -> None:
    study = make_study(tmp_path, films=3)
    report = pair.archive.finished(pair.archive.send(pair.archive.put(study.files), StorageCommitment=True))
    commitment = pair.archive.commitment(report["Content"]["StorageCommitmentTransactionUID"])
    assert (commitment["Status"], commitment["RemoteAET"], commitment["Failures"]) == ("Success", "AUSCULT", [])
    assert {item["SOPInstanceUID"] for item in commitment["Success"]} == {path.stem for path in study.files}


def test_orthanc_is_told_what_is_not_here(pair: Neighbours, tmp_path: Path) -> None:
    (film,) = make_study(tmp_path).files
    pair.archive.finished(pair.archive.send(pair.archive.put([film])))
    transaction = pair.archive.ask_for_commitment((DX, film.stem), (DX, new_uid()))
    commitment = pair.archive.commitment(transaction)
    assert commitment["Status"] == "Failure"
    assert [item["SOPInstanceUID"] for item in commitment["Success"]] == [film.stem]
    # No such object instance (PS3.3 C.14.1.1).
    assert [item["FailureReason"] for item in commitment["Failures"]] == [0x0112]


def note_about(film: Path, folder: Path) -> bytes:
    """A rejection note about a film, as a file."""
    ds = dcmread(film, stop_before_pixels=True)
    named = [(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)]
    patient = {"PatientID": ds.PatientID, "SOPInstanceUID": new_uid()}
    note = note_dataset(named, sop_class=ds.SOPClassUID, **patient)
    note.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
    path = folder / "note.dcm"
    note.save_as(path, enforce_file_format=True)
    return path.read_bytes()


@pytest.mark.timeout(240)
def test_orthanc_and_auscult_call_each_other_over_tls(orthanc_program: Peers, tmp_path: Path) -> None:
    hospital = Hospital(tmp_path / "hospital")
    theirs, ours = hospital.files("archive"), hospital.files("reader")
    pushed, moved = make_study(tmp_path, films=2), make_study(tmp_path, films=2)
    with (
        Orthanc(orthanc_program, tmp_path, **tls_of_orthanc(theirs)).running() as archive,
        new_site(
            tls_cert=str(ours.certificate),
            tls_key=str(ours.key),
            tls_ca=str(ours.authorities),
            peers=f"PACS=dicom-tls://{AET}@{LOCAL}:{archive.port}",
            commitment_days="30",
            rejection_sources=f"{AET}@127.0.0.0/8+sha256:{fingerprint(theirs)}",
        ) as site,
        site.running("listen") as listener,
    ):
        archive.knows(listener.port, UseDicomTls=False)
        name = archive.put(pushed.files)
        assert archive.finished(archive.send(name))["State"] == "Failure"
        archive.knows(listener.port, UseDicomTls=True)
        report = archive.finished(archive.send(name, StorageCommitment=True))
        assert report["State"] == "Success"
        assert archive.commitment(report["Content"]["StorageCommitmentTransactionUID"])["Status"] == "Success"
        archive.put(moved.files)
        assert site.json("fetch", "PACS", "--study-uid", moved.uid)["counts"] == {"COMPLETE": 1}
        assert filed(site, 4) == sorted(path.stem for path in pushed.files + moved.files)
        note = archive.rest("instances", note_about(pushed.files[0], tmp_path))["ID"]
        assert archive.finished(archive.send(note))["State"] == "Success"
        states = wait_until(
            lambda: site.query("SELECT state, sop_uid FROM withdrawals"), 60, "the note to be on record"
        )
        assert states == [{"state": "APPLIED", "sop_uid": pushed.files[0].stem}]
        reasons = site.query("SELECT DISTINCT reason FROM refused")
    assert reasons == [{"reason": "TLS_FAILED"}]
