"""Films that hang, eat memory or kill whoever reads them: each costs itself alone, in commands as in workers."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pytest
from PIL import Image

from dicom_io.errors import FilmError
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from dicom_io.reasons import Outcome, Reason
from tests.support.films import film, save
from tests.support.waiting import wait_until
from worker.batches.classify import classify
from worker.batches.ingest import Ingester
from worker.batches.local import LocalWorker
from worker.db.read import queries
from worker.errors import SettingsError
from worker.intake.filing import Filing, StudyClock
from worker.judging.confined import CannotStart, Confined, Foreseen, Unanswered
from worker.judging.memory import within_memory
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from worker.database import Database
    from worker.judging.confined import Job
    from worker.settings import Settings

pytestmark = pytest.mark.integration

T = TypeVar("T")


def _do(question: str) -> Any:
    """What one film does to the process that reads it."""
    if question == "hang":
        threading.Event().wait()
    if question == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if question == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if question == "bug":
        raise RuntimeError(question)
    if question == "settings":
        raise SettingsError(question)
    return os.getpid()


@contextmanager
def _job() -> Iterator[Job]:
    yield os.getpid(), _do


def _broken() -> AbstractContextManager[Job]:
    raise RuntimeError


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_one_process_answers_all_questions_and_ends_with_its_command() -> None:
    with Confined(_job, 60) as confined:
        first = confined.ask("")
        assert (confined.ask(""), confined.hello) == (first, first)
        assert first != os.getpid()
    assert _is_gone(first)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("hang", Reason.TIMED_OUT),
        ("stop", Reason.TIMED_OUT),
        ("crash", Reason.WORKER_LOST),
        ("bug", Reason.WORKER_LOST),
    ],
)
def test_a_film_that_hangs_or_kills_costs_its_own_answer_alone(question: str, reason: Reason) -> None:
    with Confined(_job, 60) as confined:
        first = confined.ask("")
        confined.limit_s = 0.2 if reason is Reason.TIMED_OUT else 60
        with pytest.raises(Unanswered) as caught:
            confined.ask(question)
        assert caught.value.reason is reason
        assert _is_gone(first)
        confined.limit_s = 60
        assert confined.ask("") not in (first, os.getpid())


def test_a_process_killed_between_two_films_is_replaced() -> None:
    with Confined(_job, 60) as confined:
        first = confined.ask("")
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert confined.ask("") != first


def test_an_error_with_a_sentence_ends_the_command_with_it() -> None:
    with Confined(_job, 60) as confined, pytest.raises(Foreseen, match=r"^settings$") as caught:
        confined.ask("settings")
    assert caught.value.exit_code == SettingsError.exit_code


def test_a_process_that_cannot_start_ends_the_command() -> None:
    with Confined(_broken, 60) as confined, pytest.raises(CannotStart):
        confined.ask("")


def test_a_command_that_is_killed_leaves_no_process_behind() -> None:
    ready, say = os.pipe()
    command = os.fork()
    if command == 0:
        os.write(say, str(Confined(_job, 60).start()).encode())
        signal.pause()
    os.close(say)
    assert int(os.read(ready, 32)) != command
    os.kill(command, signal.SIGKILL)
    os.waitpid(command, 0)
    # the pipe ends with the last process that holds it
    assert select.select([ready], [], [], 30)[0]
    assert os.read(ready, 1) == b""
    os.close(ready)


def _read_under_a_bound() -> None:
    held = np.ones(200 << 20, np.uint8)
    with pytest.raises(FilmError) as caught:
        within_memory(100, lambda: bytearray(150 << 20))
    assert caught.value.reason is Reason.TOO_LARGE
    assert within_memory(100, lambda: len(bytearray(50 << 20))) == 50 << 20
    # nothing of it stays
    assert len(bytearray(150 << 20)) + len(held) == 350 << 20


def _classified(folder: Path) -> list[tuple[str, Outcome, Reason | None]]:
    settings = limited_to(load_settings(home=folder / "home", film_memory_mb=64), 5.0)
    answers = list(classify(settings, [folder / name for name in ("large.png", "pipe", "missing.dcm")]))
    assert len({(answer.model, answer.version) for answer in answers}) == 1
    return [(Path(answer.path).name, answer.outcome, answer.reason) for answer in answers]


def _in_a_fresh_process(function: Callable[..., T], *arguments: object) -> T:
    """What a test process has held and freed before leaves room that no bound sees."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def test_reading_a_film_takes_no_more_memory_than_it_may() -> None:
    _in_a_fresh_process(_read_under_a_bound)


def test_a_file_that_hangs_or_asks_for_too_much_memory_costs_itself_alone(tmp_path: Path) -> None:
    # opening a pipe that nobody writes to never ends
    os.mkfifo(tmp_path / "pipe")
    Image.new("RGB", (5000, 5000)).save(tmp_path / "large.png")
    assert _in_a_fresh_process(_classified, tmp_path) == [
        ("large.png", Outcome.BAD_INPUT, Reason.TOO_LARGE),
        ("pipe", Outcome.FAILED, Reason.TIMED_OUT),
        ("missing.dcm", Outcome.BAD_INPUT, Reason.UNREADABLE),
    ]


def test_a_stored_film_that_hangs_ends_timed_out_after_its_attempts_and_the_next_is_judged(
    database: Database, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(home=tmp_path / "home", database_url=migrated_url, max_attempts=1)
    ingester = Ingester(
        Spool(tmp_path / "spool"), Filing(database.sessions, Store(settings.store), StudyClock(0, 60_000))
    )
    for number in (1, 2):
        ingester.take(save(film(StudyInstanceUID=f"1.2.{number}", SOPInstanceUID=f"1.2.{number}.1"), tmp_path))
    hanging, good = sorted(ingester.intake.tasks)

    def ends(limited: LocalWorker) -> bool:
        """Whether a turn ends it; one may be over before the task is claimed."""
        limited.work_on([hanging])
        with database.reads() as session:
            return not queries.open_among(session, [hanging])

    with monkeypatch.context() as patch, LocalWorker(limited_to(settings, 1.0), database) as worker:
        # the process of the worker is a fork of this one
        patch.setattr("worker.judging.pipeline.film_of_dicom", lambda _: threading.Event().wait())
        wait_until(lambda: ends(worker), what="the film that hangs is given up")
    with LocalWorker(settings, database) as worker:
        worker.work_on([good])
    with database.reads() as session:
        rows = queries.outcomes_of_tasks(session, [hanging]) + queries.outcomes_of_tasks(session, [good])
        workers = session.connection().exec_driver_sql("SELECT count(*) FROM worker").scalar()
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("FAILED", "TIMED_OUT"),
        ("NOT_APPLICABLE", "TEST_PATTERN"),
    ]
    assert workers == 0


def limited_to(settings: Settings, limit_s: float) -> Settings:
    """The settings with a shorter limit than a site may set."""
    return settings.model_copy(update={"task_limit_s": limit_s})
