"""``python3 dev.py bench drift``: how often drift alarms without a change, how small a change it finds, and what it costs.

Films are drawn from the answers of `auscult-2` to its validation films and the statistics of the public training films
(`tests.support.drift`). Costs are measured on tables of `--results` results (`benchmarks.sql.data`), all sizes in one server and in
turns; the way that was not taken, a view over `result`, is timed in turns with the one that was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import delete, text

from benchmarks.sql.data import PER_DAY
from benchmarks.sql.load import fill
from model.drift.history import added_up
from model.drift.verdict import MEASURES, Verdict, compare
from tests.support.database import Site
from tests.support.drift import FIRST, TRAINING, Simulated, one_after_the_other
from tests.support.plans import statements, what_is_read
from tests.support.postgres import own_postgres
from worker.db.models.days import count_next_day, days_of, first_days, last_counted
from worker.db.schema.engine import make_engine, session_factory
from worker.db.schema.migrate import migrate
from worker.db.schema.states import DaySource
from worker.db.schema.study import ModelDay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

    from tests.support.postgres import PostgresServer

HERE = Path(__file__).parent / "drift.json"
WINDOW, QUIET = 28, 56
#: How often each site is asked; the view takes seconds.
TURNS, TURNS_OF_THE_VIEW = 9, 3
#: The way that was not taken: what the positive rate by day and device takes, without any distribution.
BY_VIEW = """
SELECT CAST(result.created_at AS DATE), image.station_name, count(*), avg(result.probability),
    sum(CASE WHEN result.label = 'PNEUMONIA' THEN 1 ELSE 0 END)
FROM result INNER JOIN image ON image.id = result.image_id
GROUP BY 1, 2
"""


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="dev.py bench drift", description="Alarms and costs of drift.")
    parser.add_argument("--years", type=int, default=40, help="years of sites on which nothing changes")
    parser.add_argument("--sites", type=int, default=50, help="sites for each size of a change")
    parser.add_argument("--results", default="10000,300000,1000000", help="results in the tables; empty: no costs")
    parser.add_argument("--out", type=Path, default=HERE, help="the JSON file")
    told = parser.parse_args(arguments)
    report: dict[str, Any] = {"false_alarms": [_years(told.years, unrest) for unrest in (0.0, 0.1)]}
    report["power"] = [_power(told.sites, films, change) for films in (10, 30, 100) for change in (0.1, 0.2, 0.3)]
    if told.results:
        report["costs"] = _costs([int(results) for results in told.results.split(",")])
    told.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
    return 0


def _years(years: int, unrest: float) -> dict[str, Any]:
    """Three devices and the site, compared each day for a year in which nothing changes."""
    checks = alarms = with_alarm = 0
    kinds: Counter[str] = Counter()
    for seed in range(years):
        rng = np.random.default_rng(seed)
        devices = [Simulated(rng, films, unrest=unrest).days(365) for films in (10, 30, 60)]
        groups = [added_up(day for days in devices for day in days), *devices]
        found = [_checked(groups, last) for last in range(WINDOW + 2, 365)]
        bad = [verdicts for verdicts in found if verdicts]
        checks, alarms = checks + len(found), alarms + len(bad)
        with_alarm += bool(bad)
        kinds.update(verdict.value for verdicts in bad for verdict in verdicts)
    return {
        "unrest": unrest,
        "years": years,
        "years_with_alarm": with_alarm,
        "checks": checks,
        "alarms": alarms,
        **kinds,
    }


def _checked(groups: Sequence[Sequence[Any]], last: int) -> list[Verdict]:
    until = FIRST + timedelta(days=last)
    verdicts = [
        compare(
            [day for day in days if day.day <= until],
            TRAINING,
            since=FIRST,
            until=until,
            window_days=WINDOW,
            comparisons=MEASURES * len(groups),
        ).verdict
        for days in groups
    ]
    return [verdict for verdict in verdicts if verdict.is_alarm]


def _power(sites: int, films: int, change: float) -> dict[str, Any]:
    """How often the prevalence of one device is found to have changed from a quarter on, after four weeks."""
    found: Counter[str] = Counter()
    for seed in range(sites):
        rng = np.random.default_rng(seed)
        days = one_after_the_other([(Simulated(rng, films), QUIET), (Simulated(rng, films, 0.25 + change), WINDOW)])
        found[compare(days, TRAINING, since=FIRST, until=days[-1].day, window_days=WINDOW).verdict.value] += 1
    return {"films_a_day": films, "change": change, "sites": sites, **found}


@dataclass
class _Asked:
    """A site of so many results: the seconds that each question took, by its name, and what the server reads for it."""

    results: int
    engine: Engine
    sessions: sessionmaker[Session]
    took: dict[str, list[float]] = field(default_factory=dict)
    plans: dict[str, list[str]] = field(default_factory=dict)

    def ask(self, name: str, work: Callable[[], object]) -> Any:
        """Time a question."""
        began = time.perf_counter()
        found = work()
        self.took.setdefault(name, []).append(time.perf_counter() - began)
        return found

    def explain(self, name: str, work: Callable[[], object]) -> None:
        """Keep what the server reads for a question."""
        with statements(self.engine) as seen:
            work()
        self.plans[name] = [line for one in seen for line in what_is_read(self.engine, *one)]

    def count(self) -> date | None:
        """Count the next day, as a turn of the listener's loop does."""
        with self.sessions.begin() as session:
            return count_next_day(session)

    def count_the_last_day_again(self) -> None:
        """Count it as if it had not been counted; nothing is kept."""
        with self.sessions() as session:
            session.execute(delete(ModelDay).where(ModelDay.day == last_counted(session)))
            count_next_day(session)
            session.rollback()

    def read(self) -> None:
        """Compare the last days of each device with its first ones."""
        with self.sessions() as session:
            until = last_counted(session) or FIRST
            for device, first in first_days(session, 1, FIRST.replace(year=2000), DaySource.LIVE).items():
                spans = [(first, first + timedelta(days=27)), (until - timedelta(days=27), until)]
                days = days_of(session, 1, DaySource.LIVE, device, spans)
                compare(days, TRAINING, since=first, until=until, window_days=WINDOW)

    def view(self) -> None:
        """The way that was not taken."""
        with self.engine.connect() as connection:
            connection.execute(text(BY_VIEW)).all()


def _costs(sizes: Sequence[int]) -> list[dict[str, Any]]:
    with own_postgres() as server:
        sites = [_filled(server, results) for results in sizes]
        _count_in_turns(sites)
        for turn in range(TURNS):
            for site in sites:
                site.ask("turn_without_a_day_s", site.count)
                site.ask("read_and_compare_s", site.read)
                if turn < TURNS_OF_THE_VIEW:
                    site.ask("by_a_view_s", site.view)
        for site in sites:
            site.explain("turn_without_a_day_s", site.count)
            site.explain("read_and_compare_s", site.read)
            site.engine.dispose()
    return [_cost_of(site) for site in sites]


def _filled(server: PostgresServer, results: int) -> _Asked:
    engine = make_engine(server.create_database())
    migrate(engine)
    Site(str(engine.url.render_as_string(hide_password=False))).engine.dispose()
    fill(engine, results)
    return _Asked(results, engine, session_factory(engine))


def _count_in_turns(sites: Sequence[_Asked]) -> None:
    """Count the days of all sites: a day of each size in turns, as long as each has one."""
    left = list(sites)
    while left:
        for site in list(left):
            if site.ask("count_a_day_s", site.count) is None:
                site.took["count_a_day_s"].pop()
                left.remove(site)
    for site in sites:
        site.explain("count_a_day_s", site.count_the_last_day_again)


def _cost_of(site: _Asked) -> dict[str, Any]:
    counting = site.took["count_a_day_s"]
    return {
        "results": site.results,
        "results_a_day": PER_DAY,
        "days_counted": len(counting),
        "count_all_s": round(sum(counting), 1),
        **{name: round(statistics.median(took), 5) for name, took in site.took.items()},
        "plans": site.plans,
    }
