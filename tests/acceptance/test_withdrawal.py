"""A PACS withdraws a film: a real rejection note, pushed by dcmtk, changes what the worklist says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Site as Hospital
from tests.support.certificates import fingerprint
from tests.support.rejections import note_dataset
from tests.support.sites import LOCAL, new_site
from tests.support.studies import chest_film, new_uid
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

    from dicom_io.network.tls import TlsFiles
    from tests.support.peers import Peers
    from tests.support.running import Running

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


def push(dcmtk: Peers, stack: Running, ds: Dataset, path: Path, aet: str, tls: TlsFiles | None = None) -> None:
    ds.save_as(path, enforce_file_format=True)
    secured = ["+tls", tls.key, tls.certificate, "+cf", tls.authorities] if tls else []
    done = dcmtk.run("storescu", "-xe", *secured, "-aet", aet, "-aec", "AUSCULT", LOCAL, stack.port, path)
    assert done.returncode == 0, done.stderr


def note_about(film: Dataset) -> Dataset:
    note = note_dataset(
        [(film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID)],
        sop_class=film.SOPClassUID,
        PatientID=film.PatientID,
        SOPInstanceUID=new_uid(),
    )
    note.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
    return note


def test_a_film_that_the_pacs_withdraws_stops_counting_and_a_person_may_revoke_it(dcmtk: Peers, tmp_path: Path) -> None:
    with new_site(rejection_sources="PACS@127.0.0.0/8") as site, site.running("up") as stack:
        film = chest_film(0.3, PatientID="0815")
        push(dcmtk, stack, film, tmp_path / "film.dcm", "PACS")
        before = site.wait_terminal(1)[film.StudyInstanceUID]
        assert before["ai_status"] == "FINAL"

        def reject(sender: str) -> None:
            push(dcmtk, stack, note_about(film), tmp_path / "note.dcm", sender)

        def states() -> list[str]:
            return sorted(row["state"] for row in site.json("withdrawal", "list"))

        reject("STRANGER")
        wait_until(lambda: states() == ["CONFLICT"], 60, "the stranger's note to be on record")
        reject("PACS")
        wait_until(
            lambda: site.query("SELECT reason FROM worklist WHERE reason = 'WITHDRAWN'"), 60, "the study to be withheld"
        )
        (row,) = site.json("worklist")
        assert (row["ai_status"], row["label"]) == ("WITHHELD", None)
        number = next(row["note_id"] for row in site.json("withdrawal", "list") if row["state"] == "APPLIED")
        site.run("withdrawal", "revoke", str(number), "--why", "the wrong film", "--yes")
        after = wait_until(
            lambda: site.query("SELECT ai_status, label FROM worklist WHERE ai_status = 'FINAL'"),
            60,
            "the answer again",
        )
        assert after[0]["label"] == before["label"]
        assert site.json("fsck")["left"] == 0


def test_a_note_over_tls_is_followed_from_the_named_certificate_alone(dcmtk: Peers, tmp_path: Path) -> None:
    hospital = Hospital(tmp_path / "hospital")
    ours, pacs, modality = (hospital.files(name) for name in ("reader", "pacs", "modality"))
    settings = {"tls_cert": ours.certificate, "tls_key": ours.key, "tls_ca": ours.authorities}
    listed = f"PACS@127.0.0.0/8+sha256:{fingerprint(pacs)}"
    with (
        new_site(**{name: str(path) for name, path in settings.items()}, rejection_sources=listed) as site,
        site.running("listen") as stack,
    ):
        film = chest_film(0.3, PatientID="0815")
        push(dcmtk, stack, film, tmp_path / "film.dcm", "PACS", modality)

        def notes() -> list[tuple[str, str | None, str]]:
            rows = site.json("withdrawal", "list")
            return sorted((row["state"], row["reason"], row["certificate"]) for row in rows)

        shown = {files: fingerprint(files).replace(":", "").lower() for files in (pacs, modality)}
        push(dcmtk, stack, note_about(film), tmp_path / "note.dcm", "PACS", modality)
        refused = ("CONFLICT", "SOURCE_NOT_LISTED", shown[modality])
        wait_until(lambda: notes() == [refused], 60, "the note with the modality's certificate to be on record")
        push(dcmtk, stack, note_about(film), tmp_path / "note.dcm", "PACS", pacs)
        followed = ("APPLIED", None, shown[pacs])
        wait_until(lambda: notes() == [followed, refused], 60, "the note with the PACS's certificate to be followed")
        received = site.query("SELECT detail FROM audit WHERE act = 'STUDY_RECEIVED'")
        assert any(shown[modality] in row["detail"] for row in received)
