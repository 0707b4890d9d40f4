"""Ages of patients, from any spelling of PatientAge or from two dates; and dates that are placeholders."""

from __future__ import annotations

import re
from datetime import date

#: Higher ages are typing errors or placeholders and count as unknown: nobody has lived longer.
OLDEST_YEARS = 122
#: No patient of a digital film was born, and no film was taken, before the first year or after the last.
_FIRST_YEAR, _LAST_YEAR = 1880, 2199
#: The epochs of databases, spreadsheets and programming languages, and the end of a century: systems write them for a
#: missing date, and hardly any living patient was born on one. The first days of 1970, 1980 and 2000 are used as
#: placeholders too, but many people were born on them, or do not know their day of birth.
_PLACEHOLDERS = frozenset(
    {
        *(date(1899, 12, 30), date(1899, 12, 31), date(1900, 1, 1), date(1901, 1, 1), date(1904, 1, 1)),
        date(2099, 12, 31),
    }
)

_MONTHS_PER_DAY = 12 / 365.2425
# Months per unit, by the first letters of the unit without accents; longer beginnings first.
_UNITS: tuple[tuple[str, float], ...] = (
    ("MIN", 0.0),
    ("MO", 1.0),
    ("MES", 1.0),
    ("M", 1.0),
    ("W", 7 * _MONTHS_PER_DAY),
    ("SEM", 7 * _MONTHS_PER_DAY),
    ("H", 0.0),
    ("D", _MONTHS_PER_DAY),
    ("T", _MONTHS_PER_DAY),
    ("G", _MONTHS_PER_DAY),
    ("JO", _MONTHS_PER_DAY),
    ("JA", 12.0),
    ("J", 12.0),
    ("Y", 12.0),
    ("A", 12.0),
)
_NUMBER = r"(\d{1,4}(?:[.,]\d{1,2})?)"
_UNIT = r"([A-Z]{1,10})\.?"
_UNIT_LAST = re.compile(rf"{_NUMBER} ?{_UNIT}", re.ASCII)
_UNIT_FIRST = re.compile(rf"{_UNIT} ?{_NUMBER}", re.ASCII)
_BARE = re.compile(_NUMBER, re.ASCII)
_TRAILER = re.compile(r" ?(OLD|OF AGE|ALT)$")


def age_in_months(text: str) -> int | None:
    """Read an age in any usual spelling.

    Parameters
    ----------
    text : str
        "006Y", "6Y", "Y006", "6", "18M", "3W", "40D", "6 years", "6Y3M", "2 anni", ...; a number alone means years.

    Returns
    -------
    int or None
        Completed months, 0 to 1464; None when the text is not an age, or one above the limit.
    """
    plain = _TRAILER.sub("", " ".join(text.upper().replace("Ñ", "N").replace("É", "E").split()))
    if _BARE.fullmatch(plain):
        return _sensible(_number(plain) * 12)
    for pattern, unit_at in ((_UNIT_LAST, 1), (_UNIT_FIRST, 0)):
        parts = pattern.findall(plain)
        if parts and not pattern.sub("", plain).strip(" ,&+"):
            months = [_months(part[1 - unit_at], part[unit_at]) for part in parts]
            return _sensible(sum(m for m in months if m is not None)) if None not in months else None
    return None


def age_at(birth: date | None, day: date | None) -> int | None:
    """Completed months between birth and a later day.

    Parameters
    ----------
    birth, day : datetime.date or None
        The two dates.

    Returns
    -------
    int or None
        Completed months, 0 to 1464; None when a date is missing, the day is before birth or the age is above the limit.
    """
    if birth is None or day is None or day < birth:
        return None
    months = (day.year - birth.year) * 12 + day.month - birth.month - (day.day < birth.day)
    return _sensible(months)


def is_placeholder(day: date) -> bool:
    """Whether systems write this date for a missing one: 1900-01-01, 0001-01-01, 1858-11-17, 9999-12-31, ..."""
    return day in _PLACEHOLDERS or not _FIRST_YEAR <= day.year <= _LAST_YEAR


def may_follow_from(months: int, birth: date, day: date) -> bool:
    """Whether an age in months may have been computed from a birth date, to the year, or is even higher."""
    return birth < day and months // 12 >= day.year - birth.year - 1


def _months(number: str, unit: str) -> float | None:
    factor = next((months for start, months in _UNITS if unit.startswith(start)), None)
    return None if factor is None else _number(number) * factor


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _sensible(months: float) -> int | None:
    # the small addition keeps 12 months of 365.2425 / 12 days from being rounded down to 11
    whole = int(months + 1e-6)
    return whole if 0 <= whole <= OLDEST_YEARS * 12 else None
