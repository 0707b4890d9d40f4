"""A PACS withdraws a film: a real rejection note, pushed by dcmtk, changes what the worklist says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.rejections import note_dataset
from tests.support.sites import LOCAL, new_site
from tests.support.studies import chest_film, new_uid
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

    from tests.support.peers import Peers
    from tests.support.running import Running

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


def push(dcmtk: Peers, stack: Running, ds: Dataset, path: Path, aet: str) -> None:
    ds.save_as(path, enforce_file_format=True)
    done = dcmtk.run("storescu", "-xe", "-aet", aet, "-aec", "AUSCULT", LOCAL, stack.port, path)
    assert done.returncode == 0, done.stderr


def test_a_film_that_the_pacs_withdraws_stops_counting_and_a_person_may_revoke_it(dcmtk: Peers, tmp_path: Path) -> None:
    with new_site(rejection_sources="PACS@127.0.0.0/8") as site, site.running("up") as stack:
        film = chest_film(0.3, PatientID="0815")
        push(dcmtk, stack, film, tmp_path / "film.dcm", "PACS")
        before = site.wait_terminal(1)[film.StudyInstanceUID]
        assert before["ai_status"] == "FINAL"

        def reject(sender: str) -> None:
            note = note_dataset(
                [(film.StudyInstanceUID, film.SeriesInstanceUID, film.SOPInstanceUID)],
                sop_class=film.SOPClassUID,
                PatientID="0815",
                SOPInstanceUID=new_uid(),
            )
            note.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
            push(dcmtk, stack, note, tmp_path / "note.dcm", sender)

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
