"""The soak's own rule for a flat line, and its plan."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.soak.flatness import growth
from benchmarks.soak.plan import FAULT_DAYS, FAULTS, FAULTS_A_DAY, Plan

WEEK_S = 3600.0


def line(leak: float, *, lives: int = 1, level: float = 100.0) -> list[tuple[str, float, float]]:
    """Samples every five seconds; `leak` is the growth over the week, and each life begins at the level again."""
    rng = np.random.default_rng(1)
    rows, length = [], WEEK_S / lives
    for at in np.arange(0, WEEK_S, 5):
        life = int(at // length)
        rows.append((str(life), float(at), level + leak * (at - life * length) / WEEK_S + float(rng.normal(0, 1))))
    return rows


@pytest.mark.parametrize(("leak", "verdict"), [(0.0, "FLAT"), (4.0, "FLAT"), (30.0, "GROWS"), (-30.0, "FALLS")])
def test_a_line_is_flat_when_its_whole_interval_is_within_the_tolerance(leak: float, verdict: str) -> None:
    assert growth("line", line(leak), WEEK_S, tolerance=0.1).verdict == verdict


def test_processes_that_are_killed_hide_no_leak() -> None:
    found = growth("line", line(30.0, lives=6), WEEK_S, tolerance=0.1)
    assert found.verdict == "GROWS"
    assert found.low < 30.0 < found.high


@pytest.mark.parametrize("rows", [[], line(0.0)[:10]])
def test_too_few_samples_show_nothing(rows: list[tuple[str, float, float]]) -> None:
    assert growth("line", rows, WEEK_S, tolerance=0.1).verdict == "NOT SHOWN"


def test_errors_that_hang_together_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    walk = np.cumsum(rng.normal(0, 1, 720)) * 0.5
    rows = [("one", 5.0 * number, 100.0 + float(value)) for number, value in enumerate(walk)]
    shuffled = [
        ("one", at, value) for (_, at, _), value in zip(rows, rng.permutation([row[2] for row in rows]), strict=True)
    ]
    wide, narrow = growth("walk", rows, WEEK_S, 0.1), growth("noise", shuffled, WEEK_S, 0.1)
    assert wide.high - wide.low > narrow.high - narrow.low


def test_every_fault_has_its_turn_on_a_day_for_faults() -> None:
    plan = Plan(WEEK_S, 1000)
    struck = plan.faults()
    assert len(struck) == len(FAULT_DAYS) * FAULTS_A_DAY
    assert {kind for _, kind in struck} == set(FAULTS)
    assert {int(at // plan.day_s) + 1 for at, _ in struck} == set(FAULT_DAYS)
    assert plan.due(plan.studies) == WEEK_S
    assert [plan.films(number) for number in range(50)] == [Plan(WEEK_S, 1000).films(number) for number in range(50)]


def test_a_plan_sends_as_many_films_as_it_is_told() -> None:
    plan = Plan.at(1.5, WEEK_S, seed=3)
    films = sum(plan.films(number) for number in range(plan.studies))
    assert films / WEEK_S == pytest.approx(1.5, rel=0.05)
