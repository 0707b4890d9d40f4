"""Which studies a fetch is asked for: keys, dates, or a list in a CSV file; and how they become questions to a PACS.

A year of a big PACS is more than it likes to answer at once, so dates are asked for day by day, and a day that is cut
off by hours and minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from dicom_io.client.query import FoundStudy, StudyKeys
from dicom_io.header.elements import valid_uid
from model.data.csv_list import read_csv_list
from model.errors import DataError
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dicom_io.client.query import Answers

#: A PACS that ends with success after a round number of answers may have kept the rest back: ask in smaller parts.
SUSPICIOUS = 500
_KEYS = ("study_uid", "accession_number", "patient_id")
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for: any of the keys, or everything within the dates."""

    study_uids: tuple[str, ...] = ()
    accession_numbers: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = ()
    date_from: date | None = None
    date_to: date | None = None
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """One question to the PACS."""

    keys: StudyKeys
    #: What a person calls it: the key, or the line of the list. "" for a day, where nothing found is no news.
    name: str = ""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a list that names no study."""

    line: int
    problem: str


def questions(wanted: Wanted, listed: Sequence[Question] = ()) -> list[Question]:
    """Every question of a fetch; raises UsageError for what would be everything, or cannot be asked."""
    if wanted.date_to and not wanted.date_from:
        msg = "--to needs --from"
        raise UsageError(msg)
    if wanted.date_from and (wanted.date_to or date.today()) < wanted.date_from:  # noqa: DTZ011 - the site's own day
        msg = "--from is after --to" if wanted.date_to else "--from is in the future"
        raise UsageError(msg)
    named = [*_named(wanted), *listed]
    if not named and not wanted.date_from:
        msg = "say which studies: --accession, --patient-id, --study-uid, --from and --to, or --list"
        raise UsageError(msg)
    if named:
        dated = [replace(question, keys=replace(question.keys, study_date=_range(wanted))) for question in named]
    else:
        dated = [Question(StudyKeys(study_date=f"{day:%Y%m%d}")) for day in _days(wanted)]
    return [
        replace(question, keys=replace(question.keys, modality=modality))
        for question in dated
        for modality in wanted.modalities or ("",)
    ]


def _named(wanted: Wanted) -> Iterator[Question]:
    for key, values in zip(_KEYS, (wanted.study_uids, wanted.accession_numbers, wanted.patient_ids), strict=True):
        for value in values:
            if problem := _problem_of(key, value):
                raise UsageError(problem)
            yield Question(StudyKeys(**{key: value}), f"{key} {value}" if key != "patient_id" else key)


def _range(wanted: Wanted) -> str:
    if not wanted.date_from:
        return ""
    return f"{wanted.date_from:%Y%m%d}-{wanted.date_to:%Y%m%d}" if wanted.date_to else f"{wanted.date_from:%Y%m%d}-"


def _days(wanted: Wanted) -> Iterator[date]:
    day = wanted.date_from
    last = wanted.date_to or date.today()  # noqa: DTZ011 - the site's own day
    while day and day <= last:
        yield day
        day += timedelta(days=1)


def _problem_of(key: str, value: str) -> str:
    if key == "study_uid" and not valid_uid(value):
        return "not a Study Instance UID"
    if len(value) > _LONGEST or "\\" in value or not value.isprintable():
        return f"not a value of {key}"
    return f"{key} with a wildcard: use --from and --to for many studies" if set("*?") & set(value) else ""


def read_list(path: Path) -> tuple[list[Question], list[BadLine]]:
    """The questions of a CSV file with the columns study_uid, accession_number or patient_id; and the lines that ask none.

    The file is read by the rule of ``model.data.csv_list``; raises UsageError for a file that is not such a list.
    """
    try:
        found = read_csv_list(path, _KEYS)
    except DataError as error:
        raise UsageError(str(error)) from error
    columns = [column for column in found.columns if column in _KEYS]
    if not columns:
        msg = f"{path}, line {found.header}: it must name a column study_uid, accession_number or patient_id"
        raise UsageError(msg)
    asked: dict[StudyKeys, Question] = {}
    bad: list[BadLine] = []
    for line in found.lines:
        values = {key: line.cells[key] for key in columns if line.cells.get(key)}
        if problem := line.problem or _problem_of_values(columns, values):
            bad.append(BadLine(line.number, problem))
        else:
            keys = StudyKeys(**values)
            asked.setdefault(keys, Question(keys, f"line {line.number}"))
    return list(asked.values()), bad


def _problem_of_values(columns: Sequence[str], values: dict[str, str]) -> str:
    if not values:
        return "no " + ", ".join(columns)
    return next(filter(None, (_problem_of(key, value) for key, value in values.items())), "")


def every_study(ask: Callable[[StudyKeys], Answers], keys: StudyKeys) -> tuple[dict[str, FoundStudy], list[StudyKeys]]:
    """All studies that match, and the smallest questions that were still cut off; what is cut off is asked in parts."""
    answers = ask(keys)
    found = {study.study_uid: study for study in answers.studies}
    if not answers.is_cut_off and len(found) < SUSPICIOUS:
        return found, []
    parts = _parts(keys)
    if not parts:
        return found, [keys] if answers.is_cut_off else []
    lost: list[StudyKeys] = []
    for part in parts:
        more, still_lost = every_study(ask, part)
        # Kept from both: a study without a time is in no part of its day.
        found.update(more)
        lost += still_lost
    return found, lost


def _parts(keys: StudyKeys) -> list[StudyKeys]:
    """The hours of a day, the minutes of an hour; nothing smaller, nor of anything else."""
    if len(keys.study_date) != 8:
        return []
    if not keys.study_time:
        return [replace(keys, study_time=f"{hour:02}0000-{hour:02}5959") for hour in range(24)]
    hour = keys.study_time[:2]
    if keys.study_time != f"{hour}0000-{hour}5959":
        return []
    return [replace(keys, study_time=f"{hour}{minute:02}00-{hour}{minute:02}59") for minute in range(60)]
