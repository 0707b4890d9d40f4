"""Whatever comes in whatever order: a film counts for its own patient, doubt forbids NORMAL, and a lowered answer says so.

A Hypothesis state machine sends versions, contradictions, corrections and resends by several sources, registers some of
them late, twice or after a rollback, merges patients and ends merges meanwhile, and in the end compares with the same
arrivals and the merges that are left, in another order.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import event

from tests.support.database import Site, facts_of, scored
from worker.db.audit.record import Actor
from worker.db.filing.bulk import register_all
from worker.db.filing.merges import PatientName, merge_patients, unmerge_patient
from worker.db.identity.arrivals import Received
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate
from worker.errors import UsageError

pytestmark = pytest.mark.integration

#: What the network says of a film by its pixels.
PROBABILITY = {"ill": 0.9, "well": 0.1}


class Crash(Exception):
    """The process ends before its commit."""


@dataclass(frozen=True)
class Sent:
    """An object as a source sent it; equal objects are equal bytes."""

    study: str
    sop: str
    patient: str
    pixels: str
    header: int
    source: str
    at_ms: int

    @property
    def sha256(self) -> str:
        return _digest(f"{self.study} {self.sop} {self.patient} {self.pixels} {self.header}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


SENT = st.builds(
    Sent,
    study=st.sampled_from(("1.1", "1.2")),
    sop=st.sampled_from(("1.9.1", "1.9.2")),
    patient=st.sampled_from(("ANN", "ANN", "BEN", "BEN", "CAT")),
    pixels=st.sampled_from(tuple(PROBABILITY)),
    header=st.integers(0, 1),
    source=st.sampled_from(("PACS", "MODALITY")),
    at_ms=st.just(0),
)


PATIENTS = ("ANN", "BEN", "CAT")
ADA = Actor("ada", "desk")
_TABLES = ("receipt", "correction", "conflict", "result", "task", "image", "study_header", "patient_merge", "study")


def clear(site: Site) -> Site:
    """A database is used for every run: its engine keeps the statements it has compiled."""
    for table in _TABLES:
        site.change(f"DELETE FROM {table}")
    return site


@pytest.fixture
def two_sites(tmp_path):
    for name in ("first.db", "second.db"):
        engine = make_engine(f"sqlite:///{tmp_path / name}")
        migrate(engine)
        engine.dispose()
    sites = [Site(f"sqlite:///{tmp_path / name}") for name in ("first.db", "second.db")]
    for site in sites:
        # No power cut is tested here.
        event.listen(site.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
        site.engine.dispose()
    yield sites
    for site in sites:
        site.engine.dispose()


class Machine(RuleBasedStateMachine):
    sites: list[Site]

    @initialize()
    def begin(self) -> None:
        self.site = clear(self.sites[0])
        self.sent: list[Sent] = []
        self.late: list[Sent] = []
        self.alarms: set[tuple[str, int]] = set()
        #: The merges in force: the new ID by the old one.
        self.merged: dict[str, str] = {}

    def teardown(self) -> None:
        if not hasattr(self, "site"):
            return
        while self.late:
            self._register(self.site, self.late.pop())
        judge(self.site)
        self.nothing_is_silently_normal()
        other = clear(self.sites[1])
        acts: list[Sent | tuple[str, str]] = [*self.sent, *self.merged.items()]
        for act in random.Random(len(self.sent)).sample(acts, len(acts)):
            if isinstance(act, Sent):
                self._register(other, act)
            else:
                merge(other, *act)
        judge(other)
        # An old arrival that is registered late can let a version count again whose header nobody has at hand: such a
        # film stays in the row it was in, in doubt, and only then does the order show.
        if not (self._foreign(self.site) or self._foreign(other)):
            assert rows(self.site) == rows(other), (self.sent, self.merged)

    def _register(self, site: Site, sent: Sent, crash: bool = False) -> None:
        key = _digest(f"{sent}")[:32]
        with site.sessions.begin() as session:
            register_all(
                session,
                [
                    Received(
                        facts=facts_of(
                            sent.study, sent.sop, patient_id=sent.patient, study_description=str(sent.header)
                        ),
                        sha256=sent.sha256,
                        pixel_sha256=_digest(sent.pixels),
                        store_key=key,
                        source=sent.source,
                        arrived_ms=sent.at_ms,
                        quiet_ms=0,
                        max_wait_ms=1000,
                    )
                ],
            )
            if crash:
                raise Crash

    @rule(sent=SENT, fate=st.sampled_from(("once", "once", "once", "twice", "crash", "late")))
    def send(self, sent: Sent, fate: str) -> None:
        sent = _at(sent, len(self.sent) + 1)
        self.sent.append(sent)
        if fate == "late":
            self.late.append(sent)
            return
        if fate == "crash":
            with pytest.raises(Crash):
                self._register(self.site, sent, crash=True)
        for _ in range(2 if fate == "twice" else 1):
            self._register(self.site, sent)

    @rule(old=st.sampled_from(PATIENTS), new=st.sampled_from(PATIENTS))
    def merge(self, old: str, new: str) -> None:
        try:
            merge(self.site, old, new)
        except UsageError:
            return
        self.merged[old] = new

    @rule(old=st.sampled_from(PATIENTS))
    def unmerge(self, old: str) -> None:
        if self.merged.pop(old, None) is not None:
            with self.site.sessions.begin() as session:
                unmerge_patient(session, PatientName(old), ADA, "two persons")

    def _foreign(self, site: Site) -> list[list[str]]:
        """The flags of rows in which a film of another patient counts."""
        return [
            row["flags"]
            for row in site.rows(_COUNTING)
            if row["merged_into_id"] is not None or self._person(row["patient_key"]) != row["patient_id"]
        ]

    def _person(self, key: str) -> str:
        patient = next(name for name in PATIENTS if _digest(name) == key)
        while patient in self.merged:
            patient = self.merged[patient]
        return patient

    @rule()
    def catch_up(self) -> None:
        while self.late:
            self._register(self.site, self.late.pop())

    @rule()
    def work(self) -> None:
        judge(self.site)

    @invariant()
    def nothing_is_silently_normal(self) -> None:
        if not hasattr(self, "site"):
            return
        doubted = {tuple(row.values()) for row in self.site.rows(_DOUBTED)}
        for row in self.site.worklist():
            place = (row["study_uid"], row["side"])
            assert not (row["label"] == "NORMAL" and place in doubted), self.sent
            if row["label"] == "PNEUMONIA":
                self.alarms.add(place)
            elif place in self.alarms:
                assert "ANSWER_LOWERED" in row["flags"], self.sent
        assert all("IDENTITY_CONFLICT" in flags for flags in self._foreign(self.site)), self.sent


_DOUBTED = """
SELECT study_uid, side FROM study WHERE id IN (SELECT held_study_id FROM conflict WHERE closed_at IS NULL)
OR id IN (SELECT claim_study_id FROM conflict WHERE closed_at IS NULL)
"""
_COUNTING = """
SELECT study.flags, study.patient_id, study.merged_into_id, image.patient_key
FROM image JOIN study ON study.id = image.study_id WHERE image.is_current
"""


def merge(site: Site, old: str, new: str) -> None:
    """Let the films of one patient be those of another."""
    with site.sessions.begin() as session:
        merge_patients(session, PatientName(old), PatientName(new), ADA, "one person")


def _at(sent: Sent, at_ms: int) -> Sent:
    return Sent(sent.study, sent.sop, sent.patient, sent.pixels, sent.header, sent.source, at_ms)


def judge(site: Site) -> None:
    """Let a worker do everything that waits."""
    waiting = site.rows(
        "SELECT task.id, pixel_sha256 FROM task JOIN image ON image.id = image_id WHERE state = 'PENDING'"
    )
    by_digest = {_digest(pixels): probability for pixels, probability in PROBABILITY.items()}
    for row in waiting:
        site.finish(row["id"], scored(by_digest[row["pixel_sha256"]]))
    site.settle()


def rows(site: Site) -> list[tuple[Any, ...]]:
    """What the worklist says of whom, and by which films; numbers of rows and sides are no part of it."""
    counting = site.rows(
        "SELECT study_uid, patient_id, sha256 FROM image JOIN study ON study.id = study_id WHERE is_current ORDER BY sha256"
    )
    found = []
    for row in site.worklist():
        films = tuple(
            item["sha256"]
            for item in counting
            if (item["study_uid"], item["patient_id"]) == (row["study_uid"], row["patient_id"])
        )
        found.append((row["study_uid"], row["patient_id"], films, row["ai_status"], row["label"], row["reason"]))
    return sorted(found, key=str)


def test_the_same_arrivals_in_any_order_give_the_same_rows_and_doubt_never_says_normal(two_sites):
    Machine.sites = two_sites
    machine = settings(
        max_examples=12,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        # A counterexample prints all that was sent: making it smaller takes minutes.
        phases=[Phase.generate],
    )
    run_state_machine_as_test(Machine, settings=machine)
