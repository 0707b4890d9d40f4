"""Rounds: send, hurt, heal, wait until all is terminal, compare; and the table of what came out."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from tests.faults import checker
from tests.faults.films import Maker, Study, catalogue
from tests.faults.reader import Reader
from tests.faults.senders import Senders
from tests.faults.turn import Turn
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.checker import Verdict
    from tests.faults.stack import Stack
    from tests.faults.turn import Kind

ASSOCIATIONS = 4
#: How long senders may try after the fault is healed, and everything may take to become terminal after that.
SENT_S = 120.0
TERMINAL_S = 120.0


@dataclass
class Played:
    """How a round went."""

    kind: str
    steps: list[str]
    studies: int
    objects: int
    verdict: Verdict
    #: From the healing to the last terminal study, in seconds.
    recovery_s: float
    took_s: float


@dataclass
class Campaign:
    """Rounds on one site, from one seed."""

    stack: Stack
    seed: int
    per_round: int = 16
    played: list[Played] = field(default_factory=list)
    studies: list[Study] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        folder = self.stack.root / "films"
        self._folder = folder
        self._films = catalogue(self.stack.site, folder)
        self.reader = Reader(self.stack.site.database_url)

    def __enter__(self) -> Campaign:
        self.reader.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.__exit__()

    def play(self, kind: Kind) -> Played:
        """One round of one kind; whatever it does, the site is whole again afterwards."""
        began = time.monotonic()
        # Each round from a seed of its own: how a round went cannot change what the next one draws.
        rng = random.Random(f"{self.seed}/{len(self.played)}/{kind.name}")
        maker = Maker(self._films, self._folder, rng)
        studies = kind.plan(maker, rng, self.per_round)
        self.studies += studies
        self.reader.watch(studies)
        senders = Senders(self.stack.port_now, self.stack.clock_s)
        start = partial(senders.start, studies, ASSOCIATIONS, random.Random(rng.getrandbits(32)))
        turn = Turn(self.stack, senders, maker, rng, studies, start)
        if not kind.starts_senders:
            start()
        failed = ""
        try:
            kind.hurt(turn)
        except AssertionError as error:
            # What the fault waited for did not come: a finding as any other.
            failed = str(error)
        finally:
            self.stack.heal()
        if self.stack.has_ended and not turn.ends_supervisor:
            failed = "`auscult up` ended"
        self.stack.revive()
        healed = time.monotonic()
        is_sent = senders.join(SENT_S)
        verdict = self._settled(studies, turn.may_fail)
        recovery_s = time.monotonic() - healed
        if not is_sent:
            verdict.stuck["senders"] = "objects were not acknowledged after the fault was healed"
        if failed:
            verdict.stuck["fault"] = failed
        verdict.silent.update(self.reader.findings)
        self.reader.findings.clear()
        verdict.lost.update(self._left_over())
        played = Played(
            kind.name,
            turn.steps,
            sum(bool(study.acked) for study in studies),
            sum(len(study.acked) for study in studies),
            verdict,
            recovery_s,
            time.monotonic() - began,
        )
        self.played.append(played)
        return played

    def _settled(self, studies: Sequence[Study], may_fail: int) -> Verdict:
        """Wait until all is terminal or the time is over, and compare."""

        def is_finished() -> bool:
            with suppress(SQLAlchemyError):
                records = checker.read(self.stack, studies)
                return all(checker.is_finished(study, records[study.uid]) for study in studies)
            return False

        with suppress(AssertionError):
            wait_until(is_finished, TERMINAL_S, "every acknowledged study to be terminal")
        return checker.compare(self.stack, studies, may_fail=may_fail)

    def _left_over(self) -> dict[str, str]:
        """What must not be left behind: entries of the spool."""
        found = {}
        spool = self.stack.site.home / "spool"
        for name in ("new", "quarantine"):

            def left(name: str = name) -> list[str]:
                return [path.name for path in (spool / name).iterdir()]

            with suppress(AssertionError):
                wait_until(lambda left=left: not left(), 60, "an empty spool")  # type: ignore[misc]
            if entries := left():
                found[f"spool/{name}"] = f"{len(entries)} entries are left"
        return found

    def last_line(self) -> str:
        """The figures of all rounds in one line."""
        return last_line([row_of(name, self.of(name)) for name in dict.fromkeys(each.kind for each in self.played)])

    def of(self, kind: str) -> list[Played]:
        return [each for each in self.played if each.kind == kind]

    def check_all(self) -> Verdict:
        """Compare every study of every round once more: nothing may have changed since."""
        return checker.compare(self.stack, self.studies, may_fail=len(self.studies))


def row_of(kind: str, played: Sequence[Played]) -> dict[str, Any]:
    """The row of a kind in the table."""
    counts = [each.verdict.counts() for each in played]
    return {
        "kind": kind,
        "rounds": len(played),
        "studies": sum(each.studies for each in played),
        "objects": sum(each.objects for each in played),
        **{name: sum(count[name] for count in counts) for name in ("lost", "doubled", "stuck", "silent", "wrong")},
        "slowest_recovery_s": round(max((each.recovery_s for each in played), default=0.0), 1),
    }


def last_line(rows: Sequence[dict[str, Any]]) -> str:
    """The sum of all rows."""
    names = ("rounds", "studies", "lost", "doubled", "stuck", "silent", "wrong")
    sums = {name: sum(row[name] for row in rows) for name in names}
    wrong = f", {sums['wrong']} wrong" if sums["wrong"] else ""
    return (
        f"{len(rows)} kinds, {sums['rounds']} rounds, {sums['studies']} studies: {sums['lost']} lost, "
        f"{sums['doubled']} doubled, {sums['stuck']} stuck, {sums['silent']} silent{wrong}"
    )
