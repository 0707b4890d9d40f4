"""What may go, and when, as pure functions: cases by hand, and properties for all dates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.db.retention.rules import (
    FileFacts,
    FileRule,
    FloorRule,
    Hold,
    Kept,
    RecordFacts,
    RecordRule,
    RecordState,
    audit_cutoffs,
    floor_of,
    holds_of,
    kept_because,
    latest_birth,
    months_before,
    study_day,
    years_after,
    years_before,
)
from worker.db.schema.states import TERMINAL_STATES, StudyState

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = FileRule(30 * DAY, (StudyState.FINAL, StudyState.NOT_APPLICABLE), 10 * DAY)
OLD = NOW - 30 * DAY
TEN_AND_28 = FloorRule(10, 28)


def facts(state: StudyState = StudyState.FINAL, last_rx_at: datetime = OLD, **others) -> FileFacts:
    return FileFacts(state, last_rx_at, **others)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (facts(), None),
        (facts(last_rx_at=OLD + timedelta(seconds=1)), Kept.AGE),
        (facts(StudyState.RECEIVING), Kept.UNFINISHED),
        (facts(has_open_task=True), Kept.UNFINISHED),
        (facts(has_open_conflict=True), Kept.CONFLICT),
        (facts(StudyState.FAILED), Kept.STATE),
        (facts(StudyState.WITHHELD), Kept.STATE),
        (facts(is_undelivered=True), Kept.UNDELIVERED),
        (facts(committed_until=NOW + DAY), Kept.COMMITTED),
        (facts(committed_until=NOW), None),
        (facts(withdrawn_at=NOW - 9 * DAY), Kept.WITHDRAWN),
        (facts(withdrawn_at=NOW - 10 * DAY), None),
        (facts(StudyState.WITHHELD, withdrawn_at=NOW - 10 * DAY), None),
        (facts(last_rx_at=NOW - DAY, is_expired_at_source=True), None),
        (facts(StudyState.FAILED, last_rx_at=NOW, is_expired_at_source=True), None),
        (facts(is_expired_at_source=True, has_open_task=True), Kept.UNFINISHED),
        (facts(is_expired_at_source=True, committed_until=NOW + DAY), Kept.COMMITTED),
        (facts(is_expired_at_source=True, withdrawn_at=NOW - DAY), Kept.WITHDRAWN),
    ],
)
def test_why_a_file_stays(given, reason):
    assert kept_because(given, RULE, NOW) is reason


FACTS = st.builds(
    FileFacts,
    st.sampled_from(list(StudyState)),
    st.integers(0, 60).map(lambda days: NOW - days * DAY),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 20).map(lambda days: NOW - days * DAY),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(-5, 5).map(lambda days: NOW + days * DAY),
)


@given(FACTS)
def test_whatever_goes_is_finished_undisputed_delivered_and_promised_to_nobody(found):
    if kept_because(found, RULE, NOW) is None:
        assert found.state in TERMINAL_STATES
        assert not any((found.has_open_task, found.has_open_conflict, found.is_undelivered))
        assert found.committed_until is None or found.committed_until <= NOW
        assert found.withdrawn_at is None or found.withdrawn_at <= NOW - RULE.withdrawn_for
        assert found.is_expired_at_source or found.last_rx_at <= NOW - RULE.min_age


@given(FACTS, st.integers(0, 100))
def test_what_may_go_may_go_later_too(found, days):
    if kept_because(found, RULE, NOW) is None:
        assert kept_because(found, RULE, NOW + days * DAY) is None


@pytest.mark.parametrize(
    ("given", "floor"),
    [
        pytest.param(RecordFacts(date(2026, 5, 2), date(2026, 5, 1), date(1990, 3, 4)), date(2036, 5, 1), id="adult"),
        pytest.param(RecordFacts(date(2026, 5, 2), date(2026, 5, 1), date(2023, 3, 4)), date(2051, 3, 4), id="child"),
        pytest.param(RecordFacts(date(2026, 5, 2), date(2026, 5, 1), date(2024, 2, 29)), date(2052, 2, 29), id="leap"),
        pytest.param(
            RecordFacts(date(2024, 3, 1), date(2024, 2, 29), date(1990, 1, 1)), date(2034, 3, 1), id="leap-day"
        ),
        pytest.param(RecordFacts(date(2026, 5, 2), date(2026, 5, 1)), date(2054, 5, 1), id="no-birth-date"),
        pytest.param(RecordFacts(date(2026, 5, 2), date(2026, 5, 1), None, 36), date(2051, 5, 1), id="age-alone"),
        pytest.param(RecordFacts(date(2026, 5, 2)), date(2054, 5, 2), id="no-dates"),
        pytest.param(RecordFacts(date(2026, 5, 2), date(2062, 5, 1)), date(2054, 5, 2), id="study-in-the-future"),
        pytest.param(RecordFacts(date(2026, 5, 1), date(2026, 5, 2)), date(2054, 5, 2), id="other-time-zone"),
        pytest.param(
            RecordFacts(date(2026, 5, 2), date(2026, 5, 1), date(2030, 1, 1)), date(2054, 5, 1), id="born-in-the-future"
        ),
        pytest.param(
            RecordFacts(date(2026, 5, 2), date(2010, 1, 1), date(2023, 3, 4)),
            date(2051, 3, 4),
            id="born-after-the-study",
        ),
        pytest.param(
            RecordFacts(date(2026, 5, 2), date(2026, 5, 1), date(1900, 1, 1)), date(2054, 5, 1), id="placeholder"
        ),
        pytest.param(
            RecordFacts(date(2026, 5, 2), date(1900, 1, 1), date(1990, 1, 1)), date(2036, 5, 2), id="no-study-date"
        ),
        pytest.param(RecordFacts(date(2026, 5, 2), date(2026, 5, 1), None, 80 * 12), date(2036, 5, 1), id="old"),
    ],
)
def test_the_floor_of_a_study(given, floor):
    assert floor_of(given, TEN_AND_28) == floor


def test_a_site_may_have_no_birthday_in_its_floor():
    assert floor_of(RecordFacts(date(2026, 5, 2), date(2026, 5, 1), date(2023, 3, 4)), FloorRule(10, 0)) == date(
        2036, 5, 1
    )


def test_what_lies_beyond_the_calendar_never_goes():
    assert years_after(date(9990, 1, 1), 10) == date.max
    assert months_before(date(1, 2, 3), 1464) == date.min


DATES = st.dates(date(1850, 1, 1), date(2300, 1, 1))
RECORDS = st.builds(RecordFacts, DATES, st.none() | DATES, st.none() | DATES, st.none() | st.integers(0, 1464))
RULES = st.builds(FloorRule, st.integers(0, 200), st.integers(0, 200))


@given(RECORDS, RULES)
def test_the_floor_is_never_before_either_of_its_two_dates(found, rule):
    floor, day = floor_of(found, rule), study_day(found)
    assert floor >= years_after(day, rule.years)
    assert not rule.birthday or floor >= years_after(latest_birth(found), rule.birthday)
    assert latest_birth(found) <= day <= found.received + DAY


@given(RECORDS, RULES)
def test_an_unknown_birth_date_never_lets_records_go_earlier_than_the_true_one(found, rule):
    known = found.birth_date is not None and latest_birth(found) == found.birth_date
    if known:
        unknown = RecordFacts(found.received, found.study_date)
        # The study's own day may have been refused because of the birth date; then the day of receipt counts already.
        if study_day(unknown) == study_day(found):
            assert floor_of(unknown, rule) >= floor_of(found, rule)


@given(st.dates(), st.integers(0, 300))
def test_years_after_is_at_least_so_many_years(day, years):
    later = years_after(day, years)
    assert later == date.max or (later.year - day.year, later.month, later.day) in {
        (years, day.month, day.day),
        (years, 3, 1),
    }


RECORDS_RULE = RecordRule(TEN_AND_28, 10 * DAY)
BELOW = RecordRule(TEN_AND_28, 10 * DAY, below_floor=True)
PASSED, AHEAD = NOW.date(), NOW.date() + DAY
DONE = RecordState(is_finished=True)


@pytest.mark.parametrize(
    ("state", "floor", "rule", "holds"),
    [
        (DONE, PASSED, RECORDS_RULE, []),
        (DONE, AHEAD, RECORDS_RULE, [Hold(Kept.FLOOR, AHEAD)]),
        (DONE, None, RECORDS_RULE, [Hold(Kept.NO_FLOOR)]),
        (DONE, AHEAD, BELOW, []),
        (DONE, None, BELOW, []),
        (RecordState(is_finished=False), PASSED, BELOW, [Hold(Kept.UNFINISHED)]),
        (RecordState(is_finished=True, has_open_task=True), PASSED, BELOW, [Hold(Kept.UNFINISHED)]),
        (RecordState(is_finished=True, has_open_conflict=True), PASSED, BELOW, [Hold(Kept.CONFLICT)]),
        (RecordState(is_finished=True, is_undelivered=True), PASSED, BELOW, [Hold(Kept.UNDELIVERED)]),
        (
            RecordState(is_finished=True, withdrawn_at=NOW - 9 * DAY),
            PASSED,
            BELOW,
            [Hold(Kept.WITHDRAWN, NOW.date() + 2 * DAY)],
        ),
        (RecordState(is_finished=True, withdrawn_at=NOW - 10 * DAY), PASSED, BELOW, []),
        (
            RecordState(is_finished=True, committed_until=NOW + DAY),
            AHEAD,
            RECORDS_RULE,
            [Hold(Kept.COMMITTED, NOW.date() + 2 * DAY), Hold(Kept.FLOOR, AHEAD)],
        ),
        (RecordState(is_finished=True, committed_until=NOW), PASSED, BELOW, []),
    ],
)
def test_why_the_rows_of_a_study_stay_and_until_when(state, floor, rule, holds):
    assert holds_of(state, floor, rule, NOW) == holds


def test_only_the_floor_can_be_undercut_and_it_keeps_no_files():
    assert {reason for reason in Kept if reason.is_by_floor} == {Kept.NO_FLOOR, Kept.FLOOR, Kept.BOUND}
    assert Hold(Kept.FLOOR, date.max).as_dict() == {"reason": "FLOOR", "until": None}
    assert Hold(Kept.FLOOR, date(2036, 5, 1)).as_dict() == {"reason": "FLOOR", "until": "2036-05-01"}


@given(st.dates(), st.integers(0, 300))
def test_years_before_is_the_last_day_that_is_so_many_years_ago(day, years):
    earlier = years_before(day, years)
    assert earlier == date.min or years_after(earlier, years) <= day
    if earlier < date.max - DAY and day < date(9000, 1, 1) and earlier != date.min:
        assert years_after(earlier + DAY, years) > day


@given(st.dates(date(1990, 1, 1), date(2300, 1, 1)), RULES, st.integers(0, 365 * 60))
def test_an_audit_event_about_a_person_goes_no_earlier_than_a_record_of_a_newborn_of_that_day(today, rule, age):
    general, person = audit_cutoffs(rule, today)
    assert person <= general
    day = today - age * DAY
    if day < person:
        assert floor_of(RecordFacts(day, day, day), rule) <= today
    if day < general:
        assert years_after(day, rule.years) <= today
