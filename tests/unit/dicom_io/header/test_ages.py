"""Ages in every spelling of PatientAge, and from two dates."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.header.ages import OLDEST_YEARS, age_at, age_in_months, is_placeholder

MONTHS = {
    "6": 72,
    "81": 972,
    "006Y": 72,
    "006Y ": 72,
    "0": 0,
    "6Y": 72,
    "6y": 72,
    " 6 Y ": 72,
    "06Y": 72,
    "0006Y": 72,
    "Y006": 72,
    "Y6": 72,
    "6 years": 72,
    "6 YEARS OLD": 72,
    "6 yrs.": 72,
    "6YO": 72,
    "6 ans": 72,  # codespell:ignore ans
    "6A": 72,
    "6 años": 72,
    "6 Jahre": 72,
    "6J": 72,
    "6 anni": 72,
    "6.5Y": 78,
    "6,5": 78,
    "18M": 18,
    "018M": 18,
    "18 months": 18,
    "18 mois": 18,
    "18 Monate": 18,
    "18 meses": 18,
    "M018": 18,
    "3W": 0,
    "005W": 1,
    "52W": 11,
    "3 weeks": 0,
    "40D": 1,
    "365D": 11,
    "366 days": 12,
    "12H": 0,
    "6Y3M": 75,
    "6Y 3M": 75,
    "6 years, 3 months": 75,
    "000Y": 0,
    "122Y": 1464,
}
UNKNOWN = [
    "",
    " ",
    "Y",
    "123Y",
    "126Y",
    "150Y",
    "999Y",
    "999",
    "-6Y",
    "-1",
    "6Q",
    "six",
    "DOE^JANE",
    "19400305",
    "6Y DOE",
    "00:06",
    "6..Y",
    "٦Y",
]


@pytest.mark.parametrize(("text", "months"), MONTHS.items())
def test_an_age_is_read_in_any_usual_spelling(text: str, months: int) -> None:
    assert age_in_months(text) == months


@pytest.mark.parametrize("text", UNKNOWN)
def test_a_text_that_is_not_a_plausible_age_is_unknown(text: str) -> None:
    assert age_in_months(text) is None


@settings(deadline=None)
@given(st.integers(0, OLDEST_YEARS))
def test_every_year_of_the_standard_spelling_keeps_its_years(years: int) -> None:
    months = age_in_months(f"{years:03d}Y")
    assert months is not None
    assert months // 12 == years


@settings(deadline=None)
@given(st.integers(0, 999), st.sampled_from("DWM"))
def test_every_short_age_of_the_standard_spelling_is_read(number: int, unit: str) -> None:
    months = age_in_months(f"{number:03d}{unit}")
    assert months is not None
    assert months <= number


@settings(deadline=None)
@given(st.text(max_size=64))
def test_no_text_breaks_the_reading_of_an_age(text: str) -> None:
    months = age_in_months(text)
    assert months is None or 0 <= months <= 1464


@pytest.mark.parametrize(
    ("birth", "day", "months"),
    [
        (date(2018, 3, 15), date(2024, 3, 14), 71),
        (date(2018, 3, 15), date(2024, 3, 15), 72),
        (date(2020, 2, 29), date(2021, 2, 28), 11),
        (date(2020, 2, 29), date(2021, 3, 1), 12),
        (date(2024, 1, 1), date(2024, 1, 1), 0),
    ],
)
def test_months_are_completed_on_the_day(birth: date, day: date, months: int) -> None:
    assert age_at(birth, day) == months


@pytest.mark.parametrize(
    ("birth", "day"),
    [
        (None, date(2024, 1, 1)),
        (date(2024, 1, 1), None),
        (date(2024, 1, 2), date(2024, 1, 1)),
        (date(1800, 1, 1), date(2024, 1, 1)),
    ],
)
def test_dates_that_tell_no_age_leave_it_unknown(birth: date | None, day: date | None) -> None:
    assert age_at(birth, day) is None


@settings(deadline=None)
@given(st.dates(date(1950, 1, 1), date(2030, 1, 1)), st.integers(0, 40_000))
def test_an_age_from_dates_never_overstates_the_years(birth: date, days: int) -> None:
    months = age_at(birth, birth + timedelta(days))
    assert months is not None
    assert months // 12 <= days / 365


@pytest.mark.parametrize(
    "day",
    [
        *(date.min, date(1111, 11, 11), date(1753, 1, 1), date(1800, 1, 1), date(1858, 11, 17), date(1899, 12, 30)),
        *(date(1899, 12, 31), date(1900, 1, 1), date(1901, 1, 1), date(1904, 1, 1), date(2999, 12, 31), date.max),
    ],
)
def test_a_day_that_systems_write_for_want_of_a_date_is_a_placeholder(day: date) -> None:
    assert is_placeholder(day)


@pytest.mark.parametrize(
    "day",
    [date(1899, 5, 3), date(1900, 1, 2), date(1910, 1, 1), date(1970, 1, 1), date(2000, 1, 1), date(2026, 11, 28)],
)
def test_a_day_on_which_people_are_born_is_not_a_placeholder(day: date) -> None:
    assert not is_placeholder(day)
