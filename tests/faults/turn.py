"""One round as a fault sees it, and the table of the kinds of fault."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.stack import POSTGRESQL, SQLITE

if TYPE_CHECKING:
    from tests.faults.films import Maker, Study
    from tests.faults.senders import Senders
    from tests.faults.stack import Stack

#: How long a process has to come to a seam that lies on the path of every object.
REACHED_S = 20.0


@dataclass
class Turn:
    """What a fault has at hand while its round's objects are sent."""

    stack: Stack
    senders: Senders
    maker: Maker
    rng: random.Random
    studies: list[Study]
    #: Starts the senders; already called unless the kind `starts_senders`.
    start: Callable[[], None]
    #: What happened, for the protocol: the seams and moments that were drawn.
    steps: list[str] = field(default_factory=list)
    #: How many films the fault itself may let end FAILED.
    may_fail: int = 0
    #: Whether the fault ends `auscult up` itself, which must outlive every other one.
    ends_supervisor: bool = False

    @property
    def objects(self) -> int:
        return sum(not each.is_second for study in self.studies for each in study.objects)

    def part_way(self) -> None:
        """Wait until a share, drawn at random, of the objects that are still to be sent is acknowledged too."""
        share, done = self.rng.uniform(0, 0.7), self.senders.acked
        count = done + max(1, int(share * (self.objects - done)))
        self.senders.wait_acked(count)
        self.note(f"after {count} of {self.objects} acknowledgements")

    def note(self, step: str) -> None:
        self.steps.append(step)

    def at_seam(self, seams: Iterable[str], action: str, *, most: int = 6) -> int | None:
        """Let the process that comes to a seam, drawn at random, act there; its id, None where none came."""
        seam, nth = self.rng.choice(list(seams)), self.rng.randint(1, most)
        pid = self.stack.order(seam, action, nth).wait(REACHED_S)
        self.note(f"{seam} ({nth})" + ("" if pid else ", not reached"))
        return pid


Hurt = Callable[[Turn], None]
Plan = Callable[["Maker", random.Random, int], "list[Study]"]


def mixed(maker: Maker, _rng: random.Random, count: int) -> list[Study]:
    """Studies of one or several films; in some one film of several is positive."""
    return maker.studies(count)


@dataclass(frozen=True)
class Kind:
    """A kind of fault: hurts the site in the middle of a round and heals it again."""

    name: str
    group: str
    hurt: Hurt
    databases: Sequence[str] = (SQLITE, POSTGRESQL)
    plan: Plan = mixed
    #: Whether it starts the senders of the round itself.
    starts_senders: bool = False
    #: Whether it needs the library that stands for the host (a C compiler).
    needs_shim: bool = False
    #: The databases on which the short form plays it.
    short: Sequence[str] = ()


KINDS: dict[str, Kind] = {}


def kind(
    name: str,
    group: str,
    *,
    databases: Sequence[str] = (SQLITE, POSTGRESQL),
    plan: Plan = mixed,
    starts_senders: bool = False,
    needs_shim: bool = False,
    short: Sequence[str] = (),
) -> Callable[[Hurt], Hurt]:
    """Put a fault into the table of kinds."""

    def add(hurt: Hurt) -> Hurt:
        assert name not in KINDS
        KINDS[name] = Kind(name, group, hurt, databases, plan, starts_senders, needs_shim, short)
        return hurt

    return add
