"""Films, rejection notes, revocations and resends in any order: the same arrivals give the same rows.

A film that no note in force withdraws is never passed over by a NORMAL, and a lowered answer says so.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from dicom_io.header.rejection import Reference, RejectionDocument, RejectionTitle
from dicom_io.reasons import Reason
from tests.integration.worker.db.identity.test_identity_machine import PROBABILITY, Crash, _digest, clear, two_sites
from tests.support.database import Site, facts_of, refused, scored
from tests.support.rejections import LISTED, NOTE_FACTS
from worker.db.filing.bulk import register_all
from worker.db.identity.arrivals import Received
from worker.db.identity.rejections import SentAgain

__all__ = ["two_sites"]

pytestmark = pytest.mark.integration

STUDY, SERIES = "1.1", "1.1.9"
FILMS, NOTES = ("1.9.1", "1.9.2"), ("1.8.1", "1.8.2")
TITLES = tuple(RejectionTitle)


@dataclass(frozen=True)
class Sent:
    """A film or, where it names objects, a rejection note, as a source sent it; equal objects are equal bytes."""

    sop: str
    patient: str
    pixels: str
    source: str
    names: tuple[str, ...] = ()
    title: RejectionTitle = RejectionTitle.PATIENT_SAFETY
    at_ms: int = 0

    @property
    def sha256(self) -> str:
        return _digest(f"{self.sop} {self.patient} {self.pixels} {self.names} {self.title}")

    @property
    def note(self) -> RejectionDocument | None:
        return RejectionDocument(self.title, tuple(Reference(uid, STUDY) for uid in self.names)) if self.names else None


PATIENTS = st.sampled_from(("ANN", "ANN", "BEN"))
FILM = st.builds(
    Sent,
    sop=st.sampled_from(FILMS),
    patient=st.just(""),
    pixels=st.sampled_from(tuple(PROBABILITY)),
    source=st.sampled_from(("PACS", "MODALITY")),
)
NOTE = st.builds(
    Sent,
    sop=st.sampled_from(NOTES),
    patient=PATIENTS,
    pixels=st.just(""),
    source=st.sampled_from(("PACS", "PACS", "MODALITY")),
    names=st.lists(st.sampled_from((*FILMS, *FILMS, *NOTES)), min_size=1, max_size=3, unique=True).map(tuple),
    title=st.sampled_from(TITLES),
)
_TABLES = ("withdrawal", "rejected_object", "rejection_note", "refusal")


class Machine(RuleBasedStateMachine):
    sites: list[Site]

    @initialize(
        again=st.sampled_from(tuple(SentAgain)), window_ms=st.sampled_from((3, 1000)), is_one_patient=st.booleans()
    )
    def begin(self, again: SentAgain, window_ms: int, is_one_patient: bool) -> None:
        # Each film names one patient: what becomes of it under two is another machine's question.
        self.patient_of = {FILMS[0]: "ANN", FILMS[1]: "ANN" if is_one_patient else "BEN"}
        self.policy = replace(LISTED, sent_again=again, window_ms=window_ms)
        self.site = self._empty(0)
        self.sent: list[Sent] = []
        self.late: list[Sent] = []
        self.alarms: set[tuple[str, int]] = set()

    def _empty(self, number: int) -> Site:
        for table in _TABLES:
            self.sites[number].change(f"DELETE FROM {table}")
        return clear(self.sites[number])

    def teardown(self) -> None:
        if not hasattr(self, "site"):
            return
        self.catch_up()
        judge(self.site)
        self.nothing_is_silently_normal()
        other = self._empty(1)
        for sent in random.Random(len(self.sent)).sample(self.sent, len(self.sent)):
            self._register(other, sent)
        judge(other)
        assert rows(self.site) == rows(other), self.sent

    def _register(self, site: Site, sent: Sent, crash: bool = False) -> None:
        others: dict[str, Any] = dict(NOTE_FACTS) if sent.names else {}
        with site.sessions.begin() as session:
            register_all(
                session,
                [
                    Received(
                        facts=facts_of(
                            STUDY,
                            sent.sop,
                            patient_id=sent.patient,
                            calling_aet=sent.source,
                            peer="dicom://10.1.2.3",
                            **others,
                        ),
                        sha256=sent.sha256,
                        pixel_sha256=_digest(sent.pixels) if sent.pixels else "",
                        store_key=_digest(f"{sent}")[:32],
                        source=sent.source,
                        arrived_ms=sent.at_ms,
                        quiet_ms=0,
                        max_wait_ms=1000,
                        rejection=sent.note,
                        policy=self.policy,
                    )
                ],
            )
            if crash:
                raise Crash

    def _send(self, sent: Sent, fate: str) -> None:
        sent = replace(sent, at_ms=len(self.sent) + 1)
        self.sent.append(sent)
        if fate == "late":
            self.late.append(sent)
            return
        if fate == "crash":
            with pytest.raises(Crash):
                self._register(self.site, sent, crash=True)
        for _ in range(2 if fate == "twice" else 1):
            self._register(self.site, sent)

    @rule(sent=FILM, fate=st.sampled_from(("once", "once", "twice", "crash", "late")))
    def send(self, sent: Sent, fate: str) -> None:
        self._send(replace(sent, patient=self.patient_of[sent.sop]), fate)

    @rule(sent=NOTE, fate=st.sampled_from(("once", "once", "twice", "crash", "late")))
    def reject(self, sent: Sent, fate: str) -> None:
        self._send(sent, fate)

    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        if self.sent:
            self._send(data.draw(st.sampled_from(self.sent)), "once")

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
        open_alarms = {tuple(row.values()) for row in self.site.rows(_ALARMS)}
        for row in self.site.worklist():
            place = (row["study_uid"], row["side"])
            assert not (row["label"] == "NORMAL" and place in open_alarms), self.sent
            if row["label"] == "PNEUMONIA":
                self.alarms.add(place)
            elif place in self.alarms:
                assert "ANSWER_LOWERED" in row["flags"], self.sent


#: Rows with a film that counts, is not withdrawn as the public view says, and is judged PNEUMONIA or not at all.
_ALARMS = """
SELECT study.study_uid, study.side FROM study JOIN image ON image.study_id = study.id
LEFT JOIN result ON result.image_id = image.id AND result.is_current
WHERE image.is_current AND (result.id IS NULL OR result.label = 'PNEUMONIA') AND image.has_pixel_data
AND NOT EXISTS (
    SELECT 1 FROM withdrawal JOIN rejected_object ON rejected_object.id = withdrawal.rejected_object_id
    JOIN withdrawals ON withdrawals.note_id = rejected_object.note_id AND withdrawals.sop_uid = rejected_object.sop_uid
    WHERE withdrawal.image_id = image.id AND withdrawal.verdict = 'APPLIED'
    AND withdrawals.state = 'APPLIED' AND withdrawals.effect IN ('WITHDRAWS', 'KEEPS_PNEUMONIA'))
"""


_OF_NOTES = {"WITHDRAWN", "REJECTED_FOR_QUALITY"}


def judge(site: Site) -> None:
    """Let a worker do everything that waits."""
    by_digest = {_digest(pixels): probability for pixels, probability in PROBABILITY.items()}
    for row in site.rows(
        "SELECT task.id, pixel_sha256 FROM task JOIN image ON image.id = image_id WHERE state = 'PENDING'"
    ):
        probability = by_digest.get(row["pixel_sha256"])
        site.finish(row["id"], refused(Reason.NOT_A_RADIOGRAPH) if probability is None else scored(probability))
    site.settle()


def rows(site: Site) -> list[tuple[Any, ...]]:
    """What the worklist says of whom, and what became of each note; numbers of rows and sides are no part of it."""
    answers = [
        (row["patient_id"], row["ai_status"], row["label"], row["reason"], *sorted({*row["flags"]} & _OF_NOTES))
        for row in site.worklist()
    ]
    notes = site.rows(
        "SELECT note_sop_uid, withdrawals.title, sop_uid, state, reason FROM withdrawals WHERE sop_uid IS NOT NULL"
    )
    return sorted([*answers, *(tuple(row.values()) for row in notes)], key=str)


def test_notes_films_and_resends_in_any_order_give_the_same_rows(two_sites):
    Machine.sites = two_sites
    machine = settings(
        max_examples=15,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        # A counterexample prints all that was sent: making it smaller takes minutes.
        phases=[Phase.generate],
    )
    run_state_machine_as_test(Machine, settings=machine)
