"""A result on its way to a PACS and back: Orthanc commits itself to report and heat map, is told of every change, and its
auto-forwarding of our own objects starts nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from model.notice import NOTICE
from tests.support.orthanc import AET, Orthanc
from tests.support.pacs import pacs
from tests.support.sites import LOCAL, new_site
from tests.support.studies import chest_film, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydicom.dataset import Dataset

    from tests.support.peers import Peers
    from tests.support.running import Running

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

QUICK = {"deliver_backoff_s": "0.5", "deliver_commitment_s": "30", "quiet_s": "0.3"}
MODEL = "notebook-1"


@pytest.fixture(scope="module")
def archive(orthanc_program: Peers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(orthanc_program, tmp_path_factory.mktemp("orthanc")).running() as server:
        yield server


@pytest.fixture(scope="module")
def stack(archive: Orthanc) -> Iterator[Running]:
    with new_site(**QUICK, allowed_aets=f"{AET},AUSCULT_SCU", peers=f"PACS={AET}@{LOCAL}:{archive.port}") as site:
        site.run(
            "deliver", "add", "PACS", "PACS", "--heat-map", "--finding", "present", "--why", "the radiologists ask"
        )
        with site.running("up") as running:
            archive.knows(running.port)
            yield running


def sent(stack: Running, opacity: float = 0.3, **elements: Any) -> Dataset:
    ds = chest_film(opacity, PatientID="4711", PatientName="Doe^Jane", **elements)
    push([ds], stack.port)
    return ds


def rows_of(stack: Running, ds: Dataset) -> list[Mapping[str, Any]]:
    return stack.site.query("SELECT * FROM deliveries WHERE study_uid = :uid ORDER BY number", uid=ds.StudyInstanceUID)


def ended(stack: Running, ds: Dataset, number: int, state: str) -> Mapping[str, Any]:
    """The delivery of this number, once it has ended so."""

    def found() -> Mapping[str, Any] | None:
        rows = [row for row in rows_of(stack, ds) if row["number"] == number and row["state"] == state]
        return rows[0] if rows else None

    return wait_until(found, 120, f"delivery {number} to be {state}: {rows_of(stack, ds)} {stack.text()[-3000:]}")


def objects_of(stack: Running, delivery_id: int) -> dict[str, str]:
    """What was sent by a delivery: SOP Instance UIDs by kind."""
    (row,) = stack.site.query("SELECT objects FROM delivery WHERE id = :id", id=delivery_id)
    return {item["kind"]: item["sop_uid"] for item in json.loads(row["objects"])}


def held(archive: Orthanc, ds: Dataset) -> dict[str, dict[str, Any]]:
    """The instances of a study that the archive has, by SOP Instance UID."""
    query = {"Level": "Instance", "Query": {"StudyInstanceUID": ds.StudyInstanceUID}}
    found = {}
    for name in archive.rest("tools/find", query):
        tags = archive.rest(f"instances/{name}/simplified-tags")
        found[tags["SOPInstanceUID"]] = tags
    return found


def test_a_result_is_delivered_committed_and_comes_back_without_effect(stack: Running, archive: Orthanc) -> None:
    ds = sent(stack)
    first = ended(stack, ds, 1, "CONFIRMED")
    objects = objects_of(stack, first["delivery_id"])
    assert sorted(objects) == ["HEAT_MAP", "REPORT"]
    assert sorted(held(archive, ds)) == sorted(objects.values())
    assert first["report_uid"] == objects["REPORT"]
    listed = stack.site.run("deliver", "list", "--study", ds.StudyInstanceUID).stdout
    assert "CONFIRMED" in listed
    assert NOTICE in stack.site.run("deliver", "rules").stdout
    before = stack.site.worklist()[ds.StudyInstanceUID]
    # Auto-forwarding.
    (study,) = archive.rest("tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": ds.StudyInstanceUID}})
    assert archive.finished(archive.send(study))["State"] == "Success"
    known = "SELECT i.id FROM image i JOIN study s ON s.id = i.study_id WHERE s.study_uid = :uid"
    wait_until(
        lambda: len(stack.site.query(known, uid=ds.StudyInstanceUID)) == 3, 60, "our own objects to be registered"
    )
    # Whatever follows in the order of changes has been looked at when a later study has been delivered.
    later = sent(stack)
    ended(stack, later, 1, "CONFIRMED")
    after = stack.site.worklist()[ds.StudyInstanceUID]
    kept = ("ai_status", "label", "probability", "revision", "flags")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert len(rows_of(stack, ds)) == 1


def test_another_answer_is_followed_by_a_successor_and_a_note_about_the_one_before(
    stack: Running, archive: Orthanc
) -> None:
    ds = sent(stack)
    first = ended(stack, ds, 1, "CONFIRMED")
    before = objects_of(stack, first["delivery_id"])
    sent(stack, 0.35, StudyInstanceUID=ds.StudyInstanceUID)
    second = ended(stack, ds, 2, "CONFIRMED")
    now = objects_of(stack, second["delivery_id"])
    assert sorted(now) == ["HEAT_MAP", "REJECTION_NOTE", "REPORT"]
    assert not set(now.values()) & set(before.values())
    found = held(archive, ds)
    assert sorted(found) == sorted([*before.values(), *now.values()])
    report, note = found[now["REPORT"]], found[now["REJECTION_NOTE"]]
    (predecessor,) = report["PredecessorDocumentsSequence"][0]["ReferencedSeriesSequence"][0]["ReferencedSOPSequence"]
    assert predecessor["ReferencedSOPInstanceUID"] == before["REPORT"]
    rejected = [
        item["ReferencedSOPInstanceUID"]
        for series in note["CurrentRequestedProcedureEvidenceSequence"][0]["ReferencedSeriesSequence"]
        for item in series["ReferencedSOPSequence"]
    ]
    assert sorted(rejected) == sorted(before.values())
    assert note["ConceptNameCodeSequence"][0]["CodeValue"] == "113001"


def test_a_suspended_answer_is_taken_back_and_told_again_when_it_is_released(stack: Running, archive: Orthanc) -> None:
    ds = sent(stack)
    first = ended(stack, ds, 1, "CONFIRMED")
    stack.site.run("model", "suspend", MODEL, "--why", "an audit", "--yes")
    second = ended(stack, ds, 2, "DELIVERED")
    assert (second["action"], list(objects_of(stack, second["delivery_id"]))) == ("WITHDRAW", ["REJECTION_NOTE"])
    note = held(archive, ds)[objects_of(stack, second["delivery_id"])["REJECTION_NOTE"]]
    # For patient safety: a viewer that knows IOCM hides it.
    assert note["ConceptNameCodeSequence"][0]["CodeValue"] == "113037"
    silent = sent(stack)
    wait_until(
        lambda: "MODEL_SUSPENDED" in str(stack.site.worklist().get(silent.StudyInstanceUID, {}).get("flags")),
        60,
        "a study in doubt",
    )
    stack.site.run("model", "resume", "--release", "--why", "it was right", "--yes")
    third = ended(stack, ds, 3, "CONFIRMED")
    now = objects_of(stack, third["delivery_id"])
    assert sorted(now) == ["HEAT_MAP", "REPORT"]
    # Other objects than those that the note rejects.
    assert not set(now.values()) & set(objects_of(stack, first["delivery_id"]).values())
    # What was in doubt is delivered once the doubt is over, for the first time.
    assert ended(stack, silent, 1, "CONFIRMED")["action"] == "REPORT"


def test_nothing_is_delivered_of_what_the_rule_does_not_want_or_what_has_no_answer(stack: Running) -> None:
    lateral = sent(stack, ViewPosition="LL")
    stack.site.run("deliver", "add", "never", "PACS", "--finding", "absent", "--sent-by", "NOBODY", "--why", "a test")
    ds = sent(stack)
    ended(stack, ds, 1, "CONFIRMED")
    assert {row["destination"] for row in rows_of(stack, ds)} == {"PACS"}
    assert rows_of(stack, lateral) == []
    stack.site.run("deliver", "remove", "never", "--why", "a test")
    assert [rule["name"] for rule in stack.site.json("deliver", "rules")] == ["PACS"]
    refused = stack.site.run("deliver", "add", "PACS", "PACS", "--why", "twice", check=2)
    assert "there is a destination PACS" in refused.stderr
    unknown = stack.site.run("deliver", "add", "x", "NOBODY", "--why", "a test", check=2)
    assert "no peer NOBODY" in unknown.stderr


def test_a_second_archive_keeps_it_too(stack: Running, dcmtk: Peers) -> None:
    with pacs(dcmtk, {}) as other:
        stack.site.run("deliver", "add", "OLD", other.address, "--why", "a test")
        ds = sent(stack)

        def done() -> bool:
            return [
                (row["destination"], row["state"]) for row in rows_of(stack, ds) if row["destination"] == "OLD"
            ] == [("OLD", "DELIVERED")]

        wait_until(done, 120, "dcmtk's archive to have it")
        stack.site.run("deliver", "remove", "OLD", "--why", "a test")
