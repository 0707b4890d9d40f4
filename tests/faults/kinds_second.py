"""Faults of a second listener, on a data folder of its own, with the same database and store."""

from __future__ import annotations

import random
import shutil
import signal
from typing import TYPE_CHECKING

from tests.faults.films import Maker, Study
from tests.faults.hook.seams import REGISTER
from tests.faults.senders import Senders
from tests.faults.stack import POSTGRESQL, READY_S, Order, port_of, signal_all
from tests.faults.turn import REACHED_S, Turn, kind
from tests.support.running import Site
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.running import Running

GROUP = "second listener"
ASSOCIATIONS = 2
#: Longer than the 30 s after which a listener counts as silent.
SILENT_S = 90.0
NOT_ACKED = "the second listener did not acknowledge its films"


def over_two_listeners(maker: Maker, _rng: random.Random, count: int) -> list[Study]:
    """Studies whose normal film goes to the first listener and whose positive film goes to the second."""
    studies = []
    for _ in range(count // 2):
        study = Study(maker.uid())
        series = maker.uid()
        maker.add(study, series, maker.film("normal"))
        maker.add(study, series, maker.film("positive")).is_second = True
        studies.append(study)
    return studies


class _Second:
    """A listener beside those of the stack."""

    def __init__(self, turn: Turn) -> None:
        self._stack = turn.stack
        self.root = turn.stack.root / "second"
        self.orders = self.root / "orders"
        self.orders.mkdir(parents=True)
        own = {"AUSCULT_STORE_DIR": str(turn.stack.site.home), "FAULTS_ORDERS": str(self.orders)}
        self.site = Site(self.root / "home", {**turn.stack.site.env, **own})
        self.site.home.mkdir(mode=0o700)
        self.running = self.start()

    def start(self) -> Running:
        self.running = self._stack.spawn("listen", log="second.log", site=self.site)
        assert port_of(self.site, READY_S), self.running.text()[-2000:]
        return self.running

    def senders(self, turn: Turn) -> Senders:
        """Begin to send it the films that are its own."""
        senders = Senders(lambda: port_of(self.site), turn.stack.clock_s, to_second=True)
        senders.start(turn.studies, ASSOCIATIONS, random.Random(turn.rng.getrandbits(32)))
        return senders

    def start_again(self) -> None:
        """Kill it, whatever it does or waits for, and start it; it registers what it acknowledged."""
        self.running.kill()
        self.start()
        wait_until(lambda: not list((self.site.home / "spool" / "new").iterdir()), 60, "its films to be registered")

    def close(self) -> None:
        """End in order: it holds nothing any more, and says so."""
        self.start_again()
        assert self.running.stop() == 0
        shutil.rmtree(self.root)


def _withheld(turn: Turn) -> bool:
    uids = {study.uid for study in turn.studies}
    rows = turn.stack.rows("SELECT study_uid, ai_status, reason FROM worklist WHERE ai_status = 'WITHHELD'")
    return uids <= {row["study_uid"] for row in rows if row["reason"] == "LISTENER_SILENT"}


@kind(
    "second listener silent for 30 s with films that it acknowledged",
    GROUP,
    databases=(POSTGRESQL,),
    plan=over_two_listeners,
    starts_senders=True,
)
def silent_listener(turn: Turn) -> None:
    second = _Second(turn)
    try:
        # Its registrar stands still at the first film, while it goes on to acknowledge films.
        order = Order(second.orders, "before the original is linked into the store", "hang", 1)
        assert second.senders(turn).join(60), NOT_ACKED
        assert order.wait(REACHED_S), "the second listener has not begun to register"
        # The studies begin now, so none of them can be final before its films were acknowledged.
        turn.start()
        assert turn.senders.join(60), "the first listener did not acknowledge its films"
        signal_all([second.running.process.pid], signal.SIGSTOP)
        wait_until(lambda: _withheld(turn), SILENT_S, "the answers to be withheld because a listener is silent")
        turn.note("all WITHHELD until it came back")
    finally:
        second.close()


@kind(
    "second listener killed at a step of registration",
    GROUP,
    databases=(POSTGRESQL,),
    plan=over_two_listeners,
    starts_senders=True,
)
def kill_second(turn: Turn) -> None:
    second = _Second(turn)
    try:
        order = Order(second.orders, turn.rng.choice(list(REGISTER)), "kill", turn.rng.randint(1, 3))
        turn.start()
        senders = second.senders(turn)
        if order.wait(REACHED_S):
            turn.note(order.seam)
            second.running.process.wait(30)
            second.start_again()
        assert senders.join(60), NOT_ACKED
    finally:
        second.close()
