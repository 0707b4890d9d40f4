"""Log lines carry ids and actions, and never what an exception quotes."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from worker.logs import configure_logging, error_class

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    out = io.StringIO()
    configure_logging("info", "json", out)
    yield out
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_is_json_with_its_action_and_ids(stream: io.StringIO) -> None:
    logging.getLogger("worker.x").info("object registered", extra={"action": "register", "study": 7})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["action"], line["study"], line["level"]) == ("object registered", "register", 7, "info")


def test_an_exception_shows_its_class_and_frames_but_not_its_text(stream: io.StringIO) -> None:
    try:
        raise ValueError("DOE^JANE")
    except ValueError as error:
        logging.getLogger("worker.x").warning("attempt failed", exc_info=error)
    assert "DOE" not in stream.getvalue()
    line = json.loads(stream.getvalue())
    assert line["error"] == "ValueError"
    assert any("test_logs.py" in frame for frame in line["frames"])


def test_the_libraries_that_quote_headers_are_kept_quiet(stream: io.StringIO) -> None:
    logging.getLogger("pydicom").warning("Invalid value for VR UI: 'DOE^JANE'")
    logging.getLogger("highdicom.base").info('copy attributes of module "Patient"')
    assert stream.getvalue() == ""


def test_an_error_is_named_by_its_class() -> None:
    assert error_class(KeyError("DOE")) == "KeyError"
    assert error_class(json.JSONDecodeError("DOE", "", 0)) == "json.decoder.JSONDecodeError"


def test_a_thread_that_dies_says_where_but_not_what_it_stumbled_over(stream: io.StringIO) -> None:
    def die() -> None:
        raise RuntimeError("DOE^JANE")

    thread = threading.Thread(target=die, name="registrar")
    thread.start()
    thread.join()
    assert "DOE" not in stream.getvalue()
    line = json.loads(stream.getvalue())
    assert (line["event"], line["error"]) == ("thread registrar died", "RuntimeError")


def test_what_a_peer_calls_itself_makes_no_line_of_its_own(stream: io.StringIO) -> None:
    logging.getLogger("worker.x").info("refused %s", "\x1b[2JEVIL\n{}", extra={"calling_aet": "A\r\nB\u202eC"})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["calling_aet"]) == ("refused [2JEVIL {}", "A  BC")


def test_nothing_within_a_line_is_an_order_to_a_terminal(stream: io.StringIO) -> None:
    logging.getLogger("worker.x").info("from %s", "A\x1b[2JE", extra={"callers": ["B\u202eB"], "aet": "C\x9bC"})
    assert not any(char in stream.getvalue() for char in "\x1b\u202e\x9b")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["callers"], line["aet"]) == ("from A[2JE", ["BB"], "CC")
