"""Who was told results of a person is said to that person, and to whoever erases them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.database import BOTH, fresh_site
from tests.support.retention import Holding
from worker.db.audit.record import Actor
from worker.db.delivery import destinations
from worker.db.delivery.claims import claim, record_objects
from worker.db.delivery.destinations import NewDestination
from worker.db.delivery.ends import Pauses, finish
from worker.db.delivery.outcome import Ended, ObjectKind, Outcome, SentObject
from worker.db.schema.states import DestinationKind
from worker.delivering.planner import plan
from worker.retention import erase as erasing
from worker.retention import export as exporting
from worker.retention.policy import record_rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

ADA = Actor("ada", "here")
PATIENT = "ZQ-0815-77"
REPORT = SentObject(ObjectKind.REPORT, "1.2.840.10008.5.1.4.1.1.88.34", "2.25.1", "2.25.2")
LONG_MS = 3_600_000
PACS = ("PACS", DestinationKind.C_STORE, "ARCHIVE@127.0.0.1:104", True)
ENGINE = ("engine", DestinationKind.WEBHOOK, "https://engine.site.example/auscult", False)


@pytest.fixture(params=BOTH)
def holding(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Holding]:
    for site in fresh_site(request, tmp_path):
        held = Holding.of(site, tmp_path / "home", keep_years=0, keep_until_birthday=0)
        yield held
        held.close()


def destination(holding: Holding, name: str, kind: DestinationKind, address: str, names_patient: bool) -> int:
    is_dicom = kind is DestinationKind.C_STORE
    new = NewDestination(name, kind, address, names_patient=names_patient, commitment=is_dicom)
    with holding.site.sessions.begin() as session:
        return destinations.add(session, new, ADA, "a test")


def told(holding: Holding, destination_id: int) -> None:
    """What is due for a destination leaves for it, and is taken."""
    sessions = holding.site.sessions
    while plan(sessions, destination_id, LONG_MS):
        pass
    while mine := claim(sessions, destination_id, "me", LONG_MS):
        record_objects(sessions, mine, (REPORT,), (holding.site.model_id, "key"))
        assert finish(sessions, mine, Outcome(Ended.DELIVERED), Pauses(first_ms=1, confirmation_ms=1))


def document(holding: Holding, out: Path) -> dict[str, Any]:
    rule = record_rule(holding.settings)
    exporting.export_patient(
        holding.settings, holding.database, exporting.ExportRequest(PATIENT, None, out, False, rule, {}), ADA
    )
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def test_the_systems_that_were_told_results_are_named_to_the_person_and_when_they_are_erased(
    holding: Holding, tmp_path: Path
) -> None:
    pacs, engine = destination(holding, *PACS), destination(holding, *ENGINE)
    destination(holding, "WAITS", DestinationKind.C_STORE, "OTHER@127.0.0.1:104", True)
    holding.judged("1.1", "1.1.1", days=1, grey=1, patient_id=PATIENT)
    holding.judged("1.2", "1.2.1", days=1, grey=2, patient_id=PATIENT)
    holding.judged("1.9", "1.9.1", days=1, grey=9, patient_id="ZQ-4711")
    assert document(holding, tmp_path / "before.json")["delivered_to"] == []
    told(holding, pacs)
    told(holding, engine)
    with holding.site.sessions.begin() as session:
        destinations.remove(session, "engine", ADA, "a test")
    found = document(holding, tmp_path / "after.json")
    assert "delivered_to" in found["recipients"]
    names = [
        (each["destination"], each["kind"], each["address"], each["names_patient"]) for each in found["delivered_to"]
    ]
    assert names == [PACS, ENGINE]
    assert {each["studies"] for each in found["delivered_to"]} == {2}
    assert all(each["first_at"] <= each["last_at"] for each in found["delivered_to"])

    request = erasing.Request(PATIENT, None, record_rule(holding.settings), {})
    looked = erasing.outlook(holding.database, request)
    done = erasing.erase(holding.settings, holding.database, request, actor=ADA, why="asked for on paper")
    assert [each.destination for each in looked.told] == ["PACS", "engine"]
    assert done.told == looked.told
    assert [each["address"] for each in done.as_dict()["delivered_to"]] == [PACS[2], ENGINE[2]]
    (event,) = holding.site.rows("SELECT detail FROM audit WHERE act = 'PATIENT_ERASED'")
    assert json.loads(event["detail"])["delivered_to"] == ["PACS", "engine"]
