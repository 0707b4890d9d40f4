"""Which senders end when more destinations have work than processes may run."""

from __future__ import annotations

from worker.delivering.dispatch import TURN_S, giving_way


def test_who_has_nothing_to_send_gives_way_first_and_then_who_has_sent_longest() -> None:
    now = 1000.0
    since = {1: now - TURN_S - 1, 2: now - TURN_S - 2, 3: now - 1, 4: now - 2, 5: now - 3}
    assert giving_way(since, {1, 2, 3}, now) == [5, 4, 2, 1]
    assert giving_way({3: now - 1}, {3}, now) == []
