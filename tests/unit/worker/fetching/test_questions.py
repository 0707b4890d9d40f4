"""What a fetch is asked for: keys, days and lists become questions, and what a PACS cuts off is asked in parts."""

from __future__ import annotations

from datetime import date
from threading import Event
from typing import TYPE_CHECKING

import pytest

from dicom_io.client.query import Answers, FoundStudy, StudyKeys
from worker.errors import UsageError
from worker.fetching.pace import Pace, QueueStands, QueueState
from worker.fetching.questions import SUSPICIOUS, BadLine, Wanted, every_study, questions, read_list

if TYPE_CHECKING:
    from pathlib import Path

JANUARY = Wanted(date_from=date(2024, 1, 30), date_to=date(2024, 2, 2))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "list.csv"
    path.write_bytes(content)
    return path


def study(number: int, minute: str = "") -> tuple[FoundStudy, str]:
    return FoundStudy(f"1.2.{number}", "", None, (), 1, ()), minute


class SmallPacs:
    """Answers so many studies a question and no more."""

    def __init__(self, limit: int, times: list[str], *, says_so: bool = True) -> None:
        self._studies = [study(number, minute) for number, minute in enumerate(times)]
        self._limit = limit
        self._says_so = says_so
        self.asked: list[StudyKeys] = []

    def ask(self, keys: StudyKeys) -> Answers:
        self.asked.append(keys)
        first, _, last = keys.study_time.partition("-")
        found = [one for one, at in self._studies if not keys.study_time or (at and first <= at <= last)]
        return Answers(tuple(found[: self._limit]), self._says_so and len(found) > self._limit)


def test_dates_are_asked_for_day_by_day_and_each_modality_apart() -> None:
    asked = questions(Wanted(date_from=JANUARY.date_from, date_to=JANUARY.date_to, modalities=("CR", "DX")))
    assert [(item.keys.study_date, item.keys.modality) for item in asked] == [
        (day, modality) for day in ("20240130", "20240131", "20240201", "20240202") for modality in ("CR", "DX")
    ]
    assert not any(item.name for item in asked)


def test_keys_are_asked_for_once_within_the_dates() -> None:
    asked = questions(Wanted(accession_numbers=("A1",), patient_ids=("P1",), date_from=date(2024, 1, 1)))
    assert [item.keys for item in asked] == [
        StudyKeys(accession_number="A1", study_date="20240101-"),
        StudyKeys(patient_id="P1", study_date="20240101-"),
    ]
    # A patient's id is nothing for a terminal or a log.
    assert [item.name for item in asked] == ["accession_number A1", "patient_id"]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(), "say which studies"),
        (Wanted(modalities=("CR",)), "say which studies"),
        (Wanted(date_to=date(2024, 1, 1)), "--to needs --from"),
        (Wanted(date_from=date(2024, 1, 2), date_to=date(2024, 1, 1)), "after"),
        (Wanted(accession_numbers=("A*",)), "wildcard"),
        (Wanted(patient_ids=("P?",)), "wildcard"),
        (Wanted(study_uids=("none",)), "not a Study Instance UID"),
    ],
)
def test_what_would_be_everything_or_cannot_be_asked_is_refused(wanted: Wanted, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        questions(wanted)


@pytest.mark.parametrize(
    "content",
    [
        b"accession_number\nA1\nA2\n",
        b"\xef\xbb\xbf# from the archive\r\nName;Accession Number\r\nx;A1\r\n\r\n# one more\r\ny;A2\r\n",
        "Überweiser\tACCESSION_NUMBER\nMüller\tA1\nMaier\tA2\n".encode("cp1252"),
        b'"accession_number",other\n"A1","a, b"\nA2,\nA1,again\n',
    ],
)
def test_a_list_is_read_however_it_was_saved(content: bytes, tmp_path: Path) -> None:
    rows, bad = read_list(written(tmp_path, content))
    assert [row.keys for row in rows] == [StudyKeys(accession_number="A1"), StudyKeys(accession_number="A2")]
    assert bad == []


def test_each_bad_line_of_a_list_is_named_and_the_others_are_taken(tmp_path: Path) -> None:
    content = b"study_uid,patient_id\n1.2.3,P1\nno uid,\n,\n# comment\n,P*\n1.2.4\nname;,\n1.2.4,\n"
    rows, bad = read_list(written(tmp_path, content))
    assert [row.keys for row in rows] == [StudyKeys(study_uid="1.2.3", patient_id="P1"), StudyKeys(study_uid="1.2.4")]
    assert [row.name for row in rows] == ["line 2", "line 9"]
    assert bad == [
        BadLine(3, "not a Study Instance UID"),
        BadLine(6, "patient_id with a wildcard: use --from and --to for many studies"),
        BadLine(7, "there are 2 columns, but 1 cell"),
        BadLine(8, "not a Study Instance UID"),
    ]


def test_a_line_without_a_key_is_named(tmp_path: Path) -> None:
    rows, bad = read_list(written(tmp_path, b"name,study_uid,patient_id\nx,,\ny,1.2.3,\n"))
    assert [row.name for row in rows] == ["line 3"]
    assert bad == [BadLine(2, "no study_uid, patient_id")]


def test_a_line_that_is_no_csv_is_named_and_the_others_are_taken(tmp_path: Path) -> None:
    rows, bad = read_list(written(tmp_path, b"accession_number\n" + b"x" * 200_000 + b"\nA1\n"))
    assert [row.keys for row in rows] == [StudyKeys(accession_number="A1")]
    assert [line.line for line in bad] == [2]


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"name,id\nx,1\n"])
def test_a_file_without_a_column_of_ours_is_no_list(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="study_uid, accession_number or patient_id"):
        read_list(written(tmp_path, content))


def test_a_day_that_is_cut_off_is_asked_for_by_the_hour_and_the_minute() -> None:
    # One at nine, five in one minute past ten, which is one more than the PACS answers, and one without a time.
    pacs = SmallPacs(5, ["090000", *(f"1015{second:02}" for second in range(4)), "101600", ""])
    found, lost = every_study(pacs.ask, StudyKeys(study_date="20240105"))
    assert (len(found), lost) == (6, [])
    # The study without a time is the last, behind the limit, and in no hour.
    assert "1.2.6" not in found
    assert len(pacs.asked) == 1 + 24


def test_a_minute_that_is_cut_off_is_reported() -> None:
    pacs = SmallPacs(2, ["101500", "101501", "101502"])
    found, lost = every_study(pacs.ask, StudyKeys(study_date="20240105"))
    assert len(found) == 2
    assert lost == [StudyKeys(study_date="20240105", study_time="101500-101559")]
    assert len(pacs.asked) == 1 + 24 + 60


def test_a_limit_that_a_pacs_does_not_speak_of_is_suspected() -> None:
    pacs = SmallPacs(SUSPICIOUS, [f"{number % 24:02}3000" for number in range(SUSPICIOUS + 100)], says_so=False)
    found, lost = every_study(pacs.ask, StudyKeys(study_date="20240105"))
    assert (len(found), lost) == (SUSPICIOUS + 100, [])


def test_what_has_no_day_cannot_be_asked_in_parts() -> None:
    pacs = SmallPacs(1, ["", ""])
    keys = StudyKeys(patient_id="P1")
    assert every_study(pacs.ask, keys)[1] == [keys]


class Clock(Event):
    """An event nobody sets; waiting for it only moves its time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()


def test_so_many_studies_go_in_a_minute_and_no_more() -> None:
    clock = Clock()
    pace = Pace(12, 10, QueueState(lambda: 0, lambda: 1), clock, lambda: clock.now)
    started = []
    for _ in range(25):
        pace.wait()
        started.append(clock.now)
    assert len([at for at in started if at < 60]) == 12
    assert len([at for at in started if at < 120]) == 24


def test_a_full_queue_lets_no_study_go_until_it_is_shorter() -> None:
    clock = Clock()
    lengths = [12, 11, 10, 9]
    pace = Pace(None, 10, QueueState(lambda: lengths.pop(0), lambda: 1), clock, lambda: clock.now)
    pace.wait()
    assert (lengths, clock.now) == ([], 3.0)


def test_a_full_queue_without_a_worker_is_waited_for_in_vain() -> None:
    pace = Pace(None, 10, QueueState(lambda: 10, lambda: 0), Clock())
    with pytest.raises(QueueStands, match="no worker is alive"):
        pace.wait()


def test_a_fetch_that_is_told_to_stop_waits_no_longer() -> None:
    clock = Clock()
    clock.set()
    Pace(None, 10, QueueState(lambda: 99, lambda: 1), clock).wait()
    assert clock.now == 0.0
