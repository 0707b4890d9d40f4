"""Faults of the work itself: decoders that hang or eat memory, commands that end half-way."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from alembic import command
from sqlalchemy import create_engine

from tests.faults.hook.seams import MIGRATE, RERUN
from tests.faults.stack import SQLITE
from tests.faults.turn import Turn, kind
from tests.support.migrations import with_rows
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from alembic.config import Config

GROUP = "work"


@kind("decoder hangs", GROUP)
def hang(turn: Turn) -> None:
    turn.at_seam(["while a film is decoded"], "hang")


@kind("decoder eats memory", GROUP, short=(SQLITE,))
def eat(turn: Turn) -> None:
    # More memory than a film may take is the film's own answer: it ends BAD_INPUT, and never NORMAL.
    if turn.at_seam(["while a film is decoded"], "eat memory"):
        turn.may_fail = 1


@kind("re-run killed half-way, and given again", GROUP)
def kill_rerun(turn: Turn) -> None:
    turn.senders.wait_acked(turn.objects)
    acked = [study.uid for study in turn.studies if study.acked]
    # What was acknowledged is registered a moment later, and a re-run refuses a study that it does not know.
    on_record = "SELECT study_uid FROM worklist"
    wait_until(
        lambda: {*acked} <= {row["study_uid"] for row in turn.stack.rows(on_record)}, 120, "every study to be on record"
    )
    chosen = [part for uid in acked for part in ("--study", uid)]
    rerun = ("rerun", *chosen, "--who", "faults", "--why", "a fault", "--yes")
    seam = turn.rng.choice(list(RERUN))
    order = turn.stack.order(seam, "kill")
    killed = turn.stack.site.run(*rerun, check=None)
    assert order.wait(0.1), killed.stderr
    assert killed.returncode == -signal.SIGKILL
    turn.note(seam)
    turn.stack.site.run(*rerun)


@kind("migration killed half-way, and given again", GROUP)
def kill_migration(turn: Turn) -> None:
    turn.senders.wait_acked(turn.objects)
    turn.ends_supervisor = True
    turn.stack.kill()
    engine = create_engine(turn.stack.site.database_url)

    def one_back(config: Config, _revision: str) -> None:
        command.downgrade(config, "-1")

    with_rows(engine, one_back, "-1")
    engine.dispose()
    order = turn.stack.order(next(iter(MIGRATE)), "kill")
    killed = turn.stack.site.run("migrate", check=None)
    assert order.wait(0.1), killed.stderr
    assert killed.returncode == -signal.SIGKILL
    turn.note("after a step, before the commit")
    turn.stack.site.run("migrate")
