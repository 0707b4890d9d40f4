"""The limit of time for one film ends a process that hangs outside Python, says why, and leaves others alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.claimants import claimant
from worker.presence import departed
from worker.processes.app import make_app
from worker.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

#: Claims under a name, and works within a limit; the regular expression keeps Python's lock for years.
_WORK = """
import re, sys, threading
from pathlib import Path
from worker.judging.time_limit import within_time
from worker.presence import Presence

home, parent, limit_s, what = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
presence = Presence(home, "host:1:abc", parent)
with within_time(limit_s, presence.descriptor):
    if what == "hang":
        re.match("(a+)+$", "a" * 60 + "b")
threading.Event().wait(2 * limit_s)
presence.leave()
"""


def work(home: Path, parent: str, limit_s: float, what: str) -> int:
    command = [sys.executable, "-c", _WORK, str(home), parent, str(limit_s), what]
    return subprocess.run(command, check=False, timeout=120).returncode


def test_a_film_that_hangs_outside_python_is_ended_and_known_to_have_timed_out(tmp_path: Path) -> None:
    with claimant(tmp_path) as (_, parent):
        assert work(tmp_path, parent, 0.5, "hang") == 1
        (ended,) = departed(tmp_path, parent)
    assert (ended.name, ended.is_timed_out, ended.is_alone) == ("host:1:abc", True, True)


def test_a_film_that_keeps_its_time_leaves_no_timer_behind(tmp_path: Path) -> None:
    with claimant(tmp_path) as (_, parent):
        assert work(tmp_path, parent, 0.5, "done") == 0
        assert departed(tmp_path, parent) == []


def test_no_film_of_a_message_is_ended_because_of_those_before_it(redis_url: str, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, broker_url=redis_url, task_limit_s=100)
    begins_until_s = settings.task_limit_s / 2
    app: Any = make_app(settings)
    assert app.conf.task_time_limit >= begins_until_s + settings.task_limit_s
