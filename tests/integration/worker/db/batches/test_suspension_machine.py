"""Suspensions and their ends in any order, against a plain model of the rule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import event

from tests.support.database import Site, scored
from tests.support.suspensions import (
    RELEASED,
    SUSPENDED,
    activate,
    resume,
    suspend,
)
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate
from worker.db.schema.states import SuspensionEnd
from worker.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


class Machine(RuleBasedStateMachine):
    """The plain model: which tasks are in doubt, by sets."""

    site: Site

    @initialize()
    def begin(self) -> None:
        for table in ("result", "receipt", "task", "batch", "image", "study", "suspension"):
            self.site.change(f"DELETE FROM {table}")
        self.models = [row["id"] for row in self.site.rows("SELECT id FROM model ORDER BY id")]
        self.open: dict[int, bool] = {}
        self.doubted: set[int] = set()
        self.count = 0
        self.alarms: set[str] = set()

    def _tasks(self, model_id: int) -> set[int]:
        return {row["id"] for row in self.site.rows(f"SELECT id FROM task WHERE model_id = {model_id}")}

    @rule(films=st.integers(1, 2))
    def receive(self, films: int) -> None:
        self.count += 1
        for film in range(films):
            self.site.receive(f"1.{self.count}", f"1.{self.count}.{film}")

    @rule(probability=st.sampled_from((0.1, 0.1, 0.9)), limit=st.integers(1, 3))
    def work(self, probability: float, limit: int) -> None:
        for row in self.site.rows(f"SELECT id FROM task WHERE state = 'PENDING' ORDER BY id LIMIT {limit}"):
            self.site.finish(row["id"], scored(probability))
        self.site.settle()

    @rule(which=st.integers(0, 1))
    def activate(self, which: int) -> None:
        activate(self.site, self.models[which])

    @rule(which=st.integers(0, 1))
    def suspend(self, which: int) -> None:
        suspend(self.site, self.models[which], datetime(2026, 1, 1, tzinfo=UTC))
        self.open[which] = True

    @rule(which=st.integers(0, 1), end=st.sampled_from(SuspensionEnd))
    def resume(self, which: int, end: SuspensionEnd) -> None:
        model_id = self.models[which]
        tasks = self._tasks(model_id)
        try:
            resume(self.site, end, model_id)
        except UsageError:
            return
        self.open[which] = False
        if end is not RELEASED:
            self.doubted |= tasks

    @invariant()
    def the_worklist_follows_the_rule(self) -> None:
        if not hasattr(self, "count"):
            return
        doubted = set(self.doubted)
        for which, is_open in self.open.items():
            doubted |= self._tasks(self.models[which]) if is_open else set()
        counting: dict[str, list[Any]] = {}
        for row in self.site.rows(
            "SELECT study_uid, task_id, result.label FROM result JOIN image ON image.id = image_id JOIN study ON study.id = study_id "
            "WHERE result.is_current"
        ):
            counting.setdefault(row["study_uid"], []).append(row)
        for entry in self.site.worklist():
            films = counting.get(entry["study_uid"], [])
            is_doubted = any(film["task_id"] in doubted for film in films)
            assert (SUSPENDED in entry["flags"]) == is_doubted
            if any(film["label"] == "PNEUMONIA" for film in films):
                assert entry["label"] == "PNEUMONIA"
                self.alarms.add(entry["study_uid"])
            elif entry["ai_status"] in ("FINAL", "WITHHELD"):
                assert entry["ai_status"] == ("WITHHELD" if is_doubted else "FINAL")
                assert entry["study_uid"] not in self.alarms or "ANSWER_LOWERED" in entry["flags"]


def test_whatever_is_suspended_and_resumed_in_whatever_order_the_worklist_follows_the_rule(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'machine.db'}"
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
    Machine.site = Site(url)
    Machine.site.add_model("2")
    event.listen(Machine.site.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    Machine.site.engine.dispose()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=14,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
    Machine.site.engine.dispose()
