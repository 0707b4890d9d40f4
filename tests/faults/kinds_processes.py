"""Faults of our own processes: killed at every seam of the path, frozen, started twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tests.faults.hook.seams import DISPATCH, RECEIVE, REGISTER, WORK
from tests.faults.stack import POSTGRESQL, SQLITE, signal_all
from tests.faults.turn import Turn, kind
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.faults.stack import Stack

GROUP = "processes"


@kind("listener killed while it receives", GROUP, short=(SQLITE,))
def kill_receiving(turn: Turn) -> None:
    turn.at_seam(RECEIVE, "kill")


@kind("listener killed right after 0x0000", GROUP)
def kill_after_answer(turn: Turn) -> None:
    turn.part_way()
    signal_all(turn.stack.pids("listen"), signal.SIGKILL)


@kind("registrar killed at a step of registration", GROUP, short=(SQLITE,))
def kill_registering(turn: Turn) -> None:
    turn.at_seam(REGISTER, "kill")


@kind("dispatcher killed around a hint or a settlement", GROUP)
def kill_dispatching(turn: Turn) -> None:
    turn.at_seam(DISPATCH, "kill", most=3)


@kind("worker's child killed at a step of its work", GROUP, short=(SQLITE, POSTGRESQL))
def kill_working(turn: Turn) -> None:
    turn.at_seam(WORK, "kill")


@kind("worker killed while its child works", GROUP)
def kill_pool_parent(turn: Turn) -> None:
    turn.at_seam(WORK, "kill the parent")


@kind("supervisor killed", GROUP)
def kill_supervisor(turn: Turn) -> None:
    seams = {**RECEIVE, **REGISTER, **DISPATCH}
    # The listener's parent is the fork server, whose parent is `auscult up`; all die with it.
    turn.ends_supervisor = True
    if not turn.at_seam(seams, "kill the grandparent", most=4):
        return
    assert turn.stack.up is not None
    turn.stack.up.process.wait(30)


@kind("fork server killed", GROUP)
def kill_fork_server(turn: Turn) -> None:
    # Listener and workers die with it.
    turn.at_seam({**RECEIVE, **REGISTER, **DISPATCH}, "kill the parent", most=4)


@kind("everything killed at once", GROUP, short=(SQLITE,))
def kill_everything(turn: Turn) -> None:
    turn.part_way()
    turn.ends_supervisor = True
    turn.stack.kill()


@kind("worker frozen beyond its lease and woken", GROUP)
def freeze_worker(turn: Turn) -> None:
    stands = _stopped_outside_a_transaction(turn)
    if stands is None:
        return
    try:
        # The other worker takes the film over once the lease has run out: one of two claims it again.
        wait_until(lambda: _taken_over(turn.stack), 60, "another worker to take the film over")
    finally:
        signal_all([stands], signal.SIGCONT)


def _stopped_outside_a_transaction(turn: Turn) -> int | None:
    """Stop a child with a claimed film, but not inside a transaction, which on SQLite would stop every writer."""
    for _ in range(5):
        pid = turn.at_seam(("after tasks are claimed", "while a film is decoded"), "stop", most=2)
        if pid is None or _is_writable(turn.stack):
            return pid
        signal_all([pid], signal.SIGCONT)
    return None


def _is_writable(stack: Stack) -> bool:
    if not stack.is_sqlite:
        return True
    try:
        with stack.engine.connect() as connection:
            connection.execute(text("PRAGMA busy_timeout = 1000"))
            connection.execute(text("BEGIN IMMEDIATE"))
            connection.rollback()
    except OperationalError:
        return False
    return True


def _taken_over(stack: Stack) -> bool:
    """Whether no lease has run out: the film of the frozen worker was claimed again or has ended."""
    now = (
        "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        if stack.is_sqlite
        else "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    )
    (row,) = stack.rows(
        f"SELECT count(*) AS n FROM task WHERE state = 'CLAIMED' AND (lease_token = 1 OR lease_until_ms < {now})"
    )
    return int(row["n"]) == 0


@kind("listener frozen until its senders give up, and woken", GROUP)
def freeze_listener(turn: Turn) -> None:
    turn.part_way()
    stopped = turn.stack.pids("listen")
    signal_all(stopped, signal.SIGSTOP)
    try:
        # Longer than the senders wait for an answer.
        turn.senders.wait_silence(10.0)
    finally:
        signal_all(stopped, signal.SIGCONT)


@kind("embedded broker killed", GROUP, databases=(SQLITE,), short=(SQLITE,))
def kill_broker(turn: Turn) -> None:
    turn.part_way()
    signal_all(turn.stack.pids("broker"), signal.SIGKILL)


@kind("a second listener and dispatcher on the same spool", GROUP)
def second_listener(turn: Turn) -> None:
    second = turn.stack.spawn("listen", log="second.log")
    try:
        wait_until(lambda: "listening" in second.text().lower(), 60, "the second listener")
        turn.senders.wait_acked(turn.objects)
    finally:
        assert second.stop() == 0


@kind("a second `auscult up` on the same data folder", GROUP)
def second_up(turn: Turn) -> None:
    turn.part_way()
    refused = turn.stack.site.run("up", check=None)
    assert refused.returncode != 0, refused.stderr
    assert "is in use by" in refused.stderr, refused.stderr
