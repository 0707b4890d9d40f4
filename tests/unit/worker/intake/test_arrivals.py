"""Arrivals: what is published as registered is registered, whatever comes and goes between two listings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.intake.arrivals import Arrivals

START_MS = 1_000_000


class Clock:
    """Seconds that pass when told, on this process's clock and the database's alike."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s

    @property
    def ms(self) -> int:
        return START_MS + round(self.now_s * 1000)


def listing(arrivals: Arrivals, clock: Clock, *keys: str) -> int | None:
    arrivals.read_clock(clock.ms)
    arrivals.listed(keys)
    return arrivals.registered_until_ms()


def test_an_empty_spool_is_registered_until_now() -> None:
    clock = Clock()
    assert listing(Arrivals(clock), clock) == clock.ms


def test_what_lay_there_before_this_process_leaves_the_published_moment_alone() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    assert listing(arrivals, clock, "old") is None
    clock.now_s += 5
    assert listing(arrivals, clock, "old", "new") is None
    assert listing(arrivals, clock) == clock.ms


def test_an_entry_holds_the_moment_at_the_last_listing_without_it() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    first = listing(arrivals, clock)
    clock.now_s += 10
    assert listing(arrivals, clock, "a") == first
    clock.now_s += 10
    second = clock.ms
    assert listing(arrivals, clock, "a", "b") == first
    clock.now_s += 10
    assert listing(arrivals, clock, "b") == second - 10_000
    assert listing(arrivals, clock) == clock.ms


def test_an_age_is_counted_from_the_acknowledgement_and_not_from_the_registration() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    listing(arrivals, clock)
    arrivals.note("a")
    acknowledged = clock.ms
    clock.now_s += 600
    listing(arrivals, clock, "a")
    assert arrivals.arrived_ms("a") == acknowledged


def test_objects_taken_in_order_never_share_a_moment() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    listing(arrivals, clock, "a", "b", "c")
    moments = [arrivals.arrived_ms(key) for key in "abc"]
    assert moments == sorted(set(moments))


def test_a_clock_of_the_database_that_jumps_moves_no_age() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    arrivals.note("a")
    clock.now_s += 3
    arrivals.read_clock(7_200_000)
    arrivals.listed(["a"])
    assert arrivals.arrived_ms("a") == 7_200_000 - 3000


@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "register", "list", "restart"]), st.integers(0, 5), st.integers(1, 9)),
        max_size=40,
    )
)
def test_no_object_acknowledged_before_the_published_moment_is_ever_missing(
    steps: list[tuple[str, int, int]],
) -> None:
    clock = Clock()
    arrivals, published = Arrivals(clock), 0
    spool: dict[str, int] = {}
    for number, (what, which, seconds) in enumerate(steps):
        clock.now_s += seconds
        if what == "come":
            spool[str(number)] = clock.ms
            if which % 2:  # the other half came through another process
                arrivals.note(str(number))
        elif what == "register" and spool:
            del spool[sorted(spool)[which % len(spool)]]
        elif what == "restart":
            arrivals = Arrivals(clock)
        elif what == "list":
            until = listing(arrivals, clock, *spool)
            published = published if until is None else until
            assert all(came >= published for came in spool.values())
