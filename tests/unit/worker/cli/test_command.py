"""What every verb has in common: its forms of output, its help, its tables, its end by Ctrl-C."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from worker.cli.command import app
from worker.cli.common.options import moment
from worker.cli.common.output import confirm, print_answer, print_csv, print_facts, print_table
from worker.cli.worklist import WORKLIST_COLUMNS
from worker.errors import UsageError

#: What changes something, serves, or prints one text has no rows to print.
WITHOUT_ROWS = {
    "demo", "up", "listen", "work", "migrate", "conflict show", "conflict resolve", "listener retire", "audit export", "audit forget", "audit purge", "patient merge", "patient unmerge", "patient export", "patient erase", "retry", "withdrawal revoke", "withdrawal accept", "quarantine release", "quarantine discard", "model activate", "model retire", "model export", "model import",
    "model show", "model train", "model card", "assess", "agreement export", "result", "trace", "report", "deliver add", "deliver remove", "deliver retry",
}  # fmt: skip


def verbs() -> dict[str, Any]:
    """Every verb by its words."""
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, verb in group.commands.items():
        if hasattr(verb, "commands"):
            found |= {f"{name} {part}": inner for part, inner in verb.commands.items()}
        else:
            found[name] = verb
    return found


def test_every_verb_that_prints_rows_has_json_and_csv() -> None:
    options = {name: {opt for param in verb.params for opt in param.opts} for name, verb in verbs().items()}
    lacking = {name for name, opts in options.items() if not {"--json", "--csv"} <= opts}
    assert lacking <= WITHOUT_ROWS


@pytest.mark.parametrize("words", [[], *(name.split() for name in ("rerun", "model", "model activate", "batch list"))])
def test_the_help_shows_no_type_beside_a_flag(words: list[str]) -> None:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    assert "--help" in done.output
    assert "bool" not in done.output.lower()
    assert max(map(len, done.output.splitlines())) <= 80


def test_completion_is_installed_by_the_command_itself_and_by_no_verb() -> None:
    options = {opt for verb in verbs().values() for param in verb.params for opt in param.opts}
    assert "--json" in options
    assert not options & {"--install-completion", "--show-completion"}


def test_the_help_of_a_group_lists_its_verbs_in_order_with_their_own_first_sentences() -> None:
    whole: Any = typer.main.get_command(app)
    for group in (whole, whole.commands["model"]):
        assert list(group.commands) == list(group.list_commands(None))
        for name, verb in group.commands.items():
            listed = type(group.commands)({}, group.places).listed(name)
            assert listed.help == (verb.help or "").partition("\n\n")[0], name
            assert listed.help


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (["--help"], {"pydicom", "sqlalchemy", "numpy", "pydantic", "kombu"}),
        (["--version"], {"pydicom", "sqlalchemy", "numpy", "pydantic", "kombu"}),
        (["worklist", "--help"], {"pydicom", "pynetdicom", "kombu", "PIL"}),
    ],
)
def test_a_command_imports_only_what_it_runs(arguments: list[str], unused: set[str]) -> None:
    script = (
        "import atexit, json, sys\n"
        f"sys.argv = ['auscult', *{arguments}]\n"
        "atexit.register(lambda: print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules}))))\n"
        "from worker.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert not set(json.loads(done.stdout.splitlines()[-1])) & unused


def test_the_version_is_told() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, bool(re.fullmatch(r"auscult \d\S*\n", done.output))) == (0, True)


def test_json_and_csv_at_once_are_refused_before_any_work() -> None:
    done = CliRunner().invoke(app, ["worklist", "--csv", "--json"])
    assert isinstance(done.exception, UsageError)


def test_a_reason_that_must_be_given_says_something() -> None:
    asked = [name for name, verb in verbs().items() if any("--why" in one.opts and one.required for one in verb.params)]
    assert {"conflict resolve", "model suspend", "patient merge", "retry"} <= set(asked)
    for name in asked:
        done = CliRunner().invoke(app, [*name.split(), "--why", " "])
        assert isinstance(done.exception, UsageError), name
        assert str(done.exception) == "--why is empty: give a reason, for the record", name


EAST = timezone(timedelta(hours=2))
ROW = {
    "study_uid": "1.2",
    "patient_id": "=HYPERLINK(1)",
    "description": 'chest, "AP"\r\nportable',
    "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=EAST),
    "flags": ["AGE_UNKNOWN", "VIEW_UNKNOWN"],
    "difference": -0.5,
    "is_current": True,
    "reason": None,
}


def test_csv_has_the_keys_of_the_json_and_nothing_a_spreadsheet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    print_csv([ROW])
    printed = capsys.readouterr().out
    assert printed.count("\r\n") == 2, "the header and one row"
    (row,) = csv.DictReader(io.StringIO(printed, newline=""), strict=True)
    assert list(row) == list(ROW)
    assert row == {
        "study_uid": "1.2",
        "patient_id": "'=HYPERLINK(1)",
        "description": 'chest, "AP"  portable',
        "when": "2026-01-02T01:04:05+00:00",
        "flags": "AGE_UNKNOWN;VIEW_UNKNOWN",
        "difference": "-0.5",
        "is_current": "true",
        "reason": "",
    }


@pytest.mark.parametrize("start", ["=1", "+1", "-1", "@x"])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_csv([{"a": start}])
    assert capsys.readouterr().out == f"a\r\n'{start}\r\n"


def test_no_rows_are_a_header_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_answer([], [], lambda: None, ("study_uid", "label"), as_json=False, as_csv=True)
    assert capsys.readouterr().out == "study_uid,label\r\n"


def test_a_table_fits_80_columns_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    uid = "1.2.840.99999.1.100.1.1234567890.20261128174422.123456.7890.12345"
    row = {"uid": uid, "status": "NOT_APPLICABLE", "reason": "UNSUPPORTED_TRANSFER_SYNTAX", "flags": "AGE_UNKNOWN"}
    print_table([row], {name: name.title() for name in row})
    print_facts(row.items())
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for char in set(uid):
        assert printed.count(char) >= 2 * uid.count(char)


def test_a_worklist_at_80_columns_breaks_no_code_and_shows_no_empty_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    codes = {"ai_status": "NOT_APPLICABLE", "answer": "IDENTITY_CONFLICT", "flags": ["AGE_OUT_OF_RANGE", "NO_AGE"]}
    rows = [{"accession_number": "ACC-2026-0012345", "patient_id": "P-1-CORRECTED", **codes, "band": None}]
    print_table(rows, {"band": "Band", **WORKLIST_COLUMNS})
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for code in ("NOT_APPLICABLE", "IDENTITY_CONFLICT", "AGE_OUT_OF_RANGE", "NO_AGE"):
        assert code in printed
    assert "Band" not in printed


def test_times_have_a_zone(capsys: pytest.CaptureFixture[str]) -> None:
    moments = {"east": datetime(2026, 1, 2, 3, 4, 5, tzinfo=EAST), "utc": datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)}
    print_facts(moments.items())
    assert capsys.readouterr().out.count("2026-01-02 01:04:05Z") == 2
    print_answer(moments, [], lambda: None, as_json=True, as_csv=False)
    assert set(json.loads(capsys.readouterr().out).values()) == {"2026-01-02T01:04:05+00:00"}


def test_without_a_terminal_a_question_is_refused_and_yes_answers_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match="really: give --yes"):
        confirm("really", yes=False)
    confirm("really", yes=True)
    assert capsys.readouterr().err == "auscult: really\n"


LAZY = """
import builtins, os, signal, sys
real = builtins.__import__
def slow(name, *rest, **more):
    if name == {name!r}:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest, **more)
builtins.__import__ = slow
sys.argv = ["auscult", *{arguments!r}]
signal.signal(signal.SIGINT, signal.{before})
from worker.cli import main
main()
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sqlalchemy.exc", ["worklist"]),
        ("dicom_io.errors", ["--version"]),
        ("worker.batches.classify", ["classify", "."]),
    ],
)
def test_ctrl_c_during_an_import_ends_with_one_line(name: str, arguments: list[str]) -> None:
    script = LAZY.format(name=name, arguments=arguments, before="default_int_handler")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "auscult: interrupted\n")


def test_ctrl_c_in_a_destructor_is_not_lost_and_not_printed() -> None:
    script = LAZY.format(name="never", arguments=["classify", "."], before="default_int_handler").replace(
        "main()",
        "class Late:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "import worker.cli.command\n"
        "worker.cli.command.run = lambda: [Late() for _ in range(1)].clear() or print('went on')\n"
        "main()",
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "auscult: interrupted\n")


def test_what_a_shell_started_in_the_background_ignores_ctrl_c_as_before() -> None:
    script = LAZY.format(name="importlib.metadata", arguments=["--version"], before="SIG_IGN")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("auscult ")


@pytest.mark.parametrize(
    "arguments", [["--version"], ["sql", "describe", "--json"], ["sql", "describe", "worklist_v3", "--csv"]]
)
@pytest.mark.parametrize(
    ("output", "said"), [("/dev/full", "No space left on device: a file, or the output"), (None, "")]
)
def test_an_answer_that_cannot_be_written_is_not_a_success(arguments: list[str], output: str | None, said: str) -> None:
    script = f"import sys; sys.argv = ['auscult', *{arguments}]; from worker.cli import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if output is None:
        # A pipe whose reader has gone, as behind `| head`.
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, f"auscult: {said}\n" if said else "")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T08:00:00", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31 08:00:00Z", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31T10:00:00.250+02:00", datetime(2026, 1, 31, 8, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_moment_is_taken_as_auscult_prints_it(text: str, meant: datetime) -> None:
    assert moment(text) == meant


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["audit", "list", "--since", "31.01.2026"],
            "31.01.2026 is not a time: give a day or a moment such as 2026-01-31",
        ),
        (["fetch", "PACS", "--from", "yesterday"], "yesterday is not a day: give one such as 2026-01-31 or 20260131"),
    ],
)
def test_a_time_that_is_none_is_answered_with_one_that_is(arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert says in done.output
    shown = CliRunner().invoke(app, [*arguments[:-2], "--help"], env={"COLUMNS": "100"}).output
    assert "%Y" not in shown
    assert "<time>" in shown or "<day>" in shown


def test_the_paragraphs_of_a_help_are_wrapped_by_the_terminal_and_not_by_the_source() -> None:
    shown = CliRunner().invoke(app, ["rerun", "--help"], env={"COLUMNS": "80"}).output
    assert "added, unless --make-current is given and confirmed. --reason" in shown
