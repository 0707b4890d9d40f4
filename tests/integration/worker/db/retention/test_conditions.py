"""The rule in SQL is the pure rule: compared on random rows, on both databases."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.support.database import BOTH, fresh_site
from worker.db.audit.record import Actor
from worker.db.delivery import destinations
from worker.db.delivery.destinations import NewDestination
from worker.db.retention import conditions
from worker.db.retention.files import clock, oldest
from worker.db.retention.rules import FileFacts, FileRule, kept_because
from worker.db.schema.states import DeliveryAction, DeliveryState, DestinationKind, HeldFile, StudyState
from worker.db.schema.study import Commitment, Conflict, Delivery, Image, Study, Task

pytestmark = pytest.mark.integration

STUDIES = 60
DAY = timedelta(days=1)
ANSWERS: dict[StudyState, dict[str, Any]] = {
    StudyState.FINAL: {"label": "NORMAL", "probability": 0.1, "threshold": 0.5},
    StudyState.WITHHELD: {"reason": "IDENTITY_CONFLICT"},
}


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def open_delivery(destination_id: int, study_id: int, now: datetime) -> Delivery:
    return Delivery(
        destination_id=destination_id,
        study_id=study_id,
        number=1,
        action=DeliveryAction.REPORT,
        says="",
        state=DeliveryState.PENDING,
        not_before_ms=0,
        give_up_ms=2**60,
        created_at=now,
    )


def populate(site, rng: random.Random, now: datetime) -> dict[int, FileFacts]:
    """Studies of one film in every state and age, some with work, conflicts or commitments; their facts by image."""
    entries = [site.receive(f"1.{number}", f"1.{number}.1") for number in range(STUDIES)]
    found: dict[int, FileFacts] = {}
    with site.sessions.begin() as session:
        in_conflict: set[int] = set()
        new = NewDestination("PACS", DestinationKind.C_STORE, "ARCHIVE@127.0.0.1:104")
        destination = destinations.add(session, new, Actor("ada"), "a test")
        for number, entry in enumerate(entries):
            state = rng.choice(list(StudyState) + [StudyState.FINAL] * 6)
            age = rng.randint(0, 60) * DAY
            empty = dict.fromkeys(("label", "probability", "threshold", "reason"))
            values = {"state": state, "last_rx_at": now - age, **empty, **ANSWERS.get(state, {})}
            session.execute(update(Study).where(Study.id == entry.study_id).values(values))
            is_open = rng.random() < 0.2
            if not is_open:
                session.execute(update(Task).where(Task.image_id == entry.image_id).values(state="DONE"))
            until = rng.choice([None, None, now - DAY, now, now + DAY])
            if until:
                session.add(
                    Commitment(image_id=entry.image_id, requester="CT", transaction_uid="1", at=now, until=until)
                )
            if number and rng.random() < 0.2:
                other = entries[number - 1].study_id
                is_over = rng.random() < 0.5
                session.add(
                    Conflict(
                        kind="SOP_INSTANCE",
                        held_study_id=other,
                        claim_study_id=entry.study_id,
                        sop_uid="1",
                        opened_at=now,
                        closed_at=now if is_over else None,
                        resolution="BOTH" if is_over else None,
                    )
                )
                in_conflict |= set() if is_over else {other, entry.study_id}
            is_told = rng.random() < 0.2
            if is_told:
                session.add(open_delivery(destination, entry.study_id, now))
            found[entry.image_id] = FileFacts(
                state, now - age, has_open_task=is_open, is_undelivered=is_told, committed_until=until
            )
    by_study = {entry.image_id: entry.study_id for entry in entries}
    return {
        image_id: FileFacts(
            facts.state,
            facts.last_rx_at,
            facts.has_open_task,
            by_study[image_id] in in_conflict,
            is_undelivered=facts.is_undelivered,
            committed_until=facts.committed_until,
        )
        for image_id, facts in found.items()
    }


@pytest.mark.parametrize("seed", range(2))
def test_the_rule_in_sql_is_the_pure_rule(site, seed):
    rng = random.Random(seed)
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    facts = populate(site, rng, now)
    for days in (0, 1, 30, 60):
        states = (StudyState.FINAL, *rng.sample([StudyState.FAILED, StudyState.WITHHELD], rng.randint(0, 2)))
        rule = FileRule(days * DAY, states, 10 * DAY)
        expected = {image_id: kept_because(item, rule, now) for image_id, item in facts.items()}
        with site.sessions() as session:
            asked = select(Image.id, conditions.kept_because(HeldFile.ORIGINAL, rule, now)).join(
                Study, Study.id == Image.study_id
            )
            assert {row[0]: row[1] for row in session.execute(asked)} == expected
            going = select(Image.id).join(Study, Study.id == Image.study_id)
            going = going.where(conditions.may_go(HeldFile.ORIGINAL, rule, now))
            assert set(session.scalars(going)) == {image_id for image_id, why in expected.items() if why is None}


def test_the_oldest_studies_come_first_and_the_next_ones_after_them(site):
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    populate(site, random.Random(1), now)
    rule = FileRule(DAY, (StudyState.FINAL,), DAY)
    with site.sessions() as session:
        assert clock(session).tzinfo is not None
        whole = oldest(session, HeldFile.ORIGINAL, rule, now, None, STUDIES)
        assert whole == sorted(whole, key=lambda found: (found.last_rx_at, found.study_id))
        paged, after = [], None
        while page := oldest(session, HeldFile.ORIGINAL, rule, now, after, 4):
            paged += page
            after = page[-1]
    assert paged == whole
    assert len(whole) > 8
