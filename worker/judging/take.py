"""The claims that a worker works on at once: which is next, their leases, and what was judged and is not recorded yet.

Everything is recorded at the end, in one transaction. Only where the film in work lasts long, another thread records what
was judged before it, and gives back what was not begun: so a film that hangs holds back no other one. Whether that comes
before or after an end of this process makes no difference to a task: it has ended with its result, or it is still claimed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from worker.db.tasks import claims
from worker.judging.take_size import TAKE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from sqlalchemy.orm import Session, sessionmaker

    from dicom_io.reasons import Outcome
    from worker.db.answers.results import Judgement
    from worker.db.tasks.claims import Claim

    Judged = Sequence[tuple[Claim, Judgement]]
    Outcomes = dict[int, Outcome | None]

logger = logging.getLogger(__name__)


class Take:
    """Claims in the order of work, whose leases are renewed every third of their time until the context ends.

    Parameters
    ----------
    sessions, lease_ms
        Where the claims are, and for how long they are renewed.
    held
        The claims.
    goes_on
        Asked before each claim but the first; where it is False, those that are left go back.
    record
        Records what was judged while the film in work goes on; where it fails, the end of the take records it.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        lease_ms: int,
        held: Sequence[Claim],
        goes_on: Callable[[], bool],
        record: Callable[[Judged], Outcomes],
    ) -> None:
        self._sessions = sessions
        self._lease_ms = lease_ms
        self._goes_on = goes_on
        self._record = record
        # Both threads change these, each by one step of the interpreter.
        self._held = {claim.task_id: claim for claim in held}
        self._left = deque(held)
        self._judged: list[tuple[Claim, Judgement]] = []
        self._outcomes: Outcomes = {}
        self._is_begun = False
        #: When the film in work was begun, on the monotonic clock; infinite where none is.
        self._began = math.inf
        #: Before this nothing is recorded while a film goes on: the last time it failed.
        self._not_before = -math.inf
        self._pause_s = TAKE_S
        self._recording = threading.Lock()
        self._recorder: threading.Thread | None = None
        self._done = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._keeper.join()
        if self._recorder:
            self._recorder.join()

    def next(self) -> Claim | None:
        """The next claim to work on, None at the end of the take."""
        if self._is_begun and not self._goes_on():
            return None
        self._is_begun = True
        self._began = time.monotonic()
        return _first(self._left)

    def judged(self, claim: Claim, judgement: Judgement) -> None:
        """Keep what was judged until it is recorded; nothing where the claim was lost to another worker meanwhile."""
        if claim.task_id in self._held:
            self._judged.append((claim, judgement))

    def drop(self, claim: Claim) -> None:
        """Renew a claim no more: its task has ended or was put back."""
        self._held.pop(claim.task_id, None)

    def end(self, record: Callable[[Judged], Outcomes], leave: Callable[[Sequence[Claim]], object]) -> Outcomes:
        """Record by `record` what is not recorded yet, and hand what was not begun to `leave`; the outcomes of all that was."""
        self._began = math.inf
        with self._recording:
            self._outcomes |= record(self._judged)
            self._judged = []
            if self._left:
                leave(list(self._left))
                self._left.clear()
            return self._outcomes

    def _keep(self) -> None:
        """Renew the leases, and see to it that a long film holds back no other one."""
        renew_s = self._lease_ms / 3000
        renew_at = time.monotonic() + renew_s
        while not self._done.wait(min(TAKE_S, renew_s)):
            if time.monotonic() >= renew_at:
                self._renew()
                renew_at = time.monotonic() + renew_s
            if self._holds_back(time.monotonic()) and not (self._recorder and self._recorder.is_alive()):
                # Not in this thread: should it wait for another transaction, the leases must be renewed all the same.
                self._recorder = threading.Thread(target=self._hand_over, name="record", daemon=True)
                self._recorder.start()

    def _holds_back(self, now: float) -> bool:
        """Whether the film in work lasts long while others wait for it."""
        return now - self._began >= TAKE_S and now >= self._not_before and bool(self._judged or self._left)

    def _renew(self) -> None:
        held = list(self._held.values())
        try:
            still = claims.renew(self._sessions, held, self._lease_ms) if held else set()
        except Exception:
            # The next renewal tells whether the leases outlived the outage, at the latest the end of the tasks.
            logger.warning("leases not renewed", extra={"action": "away"}, exc_info=True)
            return
        for claim in held:
            if claim.task_id not in still:
                self.drop(claim)

    def _hand_over(self) -> None:
        """Record what was judged and give back what was not begun, while the film in work goes on."""
        try:
            with self._recording:
                self._record_some()
                self._give_back()
        except Exception:
            logger.warning("films judged and not recorded yet", extra={"action": "away"}, exc_info=True)
            self._pause_s *= 2
            self._not_before = time.monotonic() + self._pause_s

    def _record_some(self) -> None:
        some = list(self._judged)
        if some:
            self._outcomes |= self._record(some)
            del self._judged[: len(some)]
            for claim, _ in some:
                self.drop(claim)

    def _give_back(self) -> None:
        if not self._left or self._goes_on():
            return
        back = []
        while claim := _first(self._left):
            back.append(claim)
        try:
            claims.leave(self._sessions, back)
        except Exception:
            self._left.extend(back)
            raise
        for claim in back:
            self.drop(claim)


def _first(left: deque[Claim]) -> Claim | None:
    """Take the first claim out; two threads never get the same."""
    try:
        return left.popleft()
    except IndexError:
        return None
