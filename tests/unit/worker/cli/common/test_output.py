"""What a command prints shows text and obeys none of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.cli.common.output import complain, print_facts, print_json, print_markdown, print_table

#: Each would do something: colour, a link, a closing tag that is an error, a moved cursor, letters turned round.
HOSTILE = {
    "[red]x[/red]": "[red]x[/red]",
    "[/]": "[/]",
    "[link=http://evil]x[/link]": "[link=http://evil]x[/link]",
    "\\[red]": "\\[red]",
    "a\\": "a\\",
    ":bomb:": ":bomb:",
    "a\x1b[2J\x1b]0;t\x07b\x9b31m": "a[2J]0;tb31m",
    "Doe\u202efdp.exe": "Doefdp.exe",
    "two\nlines\rover": "two lines over",
    "NORMAL\x00": "NORMAL",
    "sur\udcffrogate": "surrogate",
    "=HYPERLINK(1)": "=HYPERLINK(1)",
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_a_table_and_a_list_show_text_and_obey_none_of_it(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table([{"a": text}], {"a": "A"})
    print_facts([("name", text)])
    printed = capsys.readouterr().out
    assert printed.count(shown) == 2
    assert not any(char in printed for char in "\x1b\x9b\x07\r\u202e\0")


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_a_complaint_is_one_line_of_text(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    complain(f"{text}: NOT_DICOM")
    assert capsys.readouterr().err == f"auscult: {shown}: NOT_DICOM\n"


def test_json_takes_a_file_name_that_is_no_text(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    name = str(Path("naf\udce9\x1b.dcm"))
    print_json({"path": name})
    printed = capsysbinary.readouterr().out
    assert json.loads(printed.decode("utf-8")) == {"path": name}
    assert b"\x1b" not in printed


@pytest.mark.parametrize("text", HOSTILE)
def test_json_keeps_every_value_and_gives_a_terminal_no_order(
    text: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    print_json({"a": text, "b": "Ünal^Çiğdem 王"})
    printed = capsysbinary.readouterr().out.decode("utf-8")
    assert json.loads(printed) == {"a": text, "b": "Ünal^Çiğdem 王"}
    assert "Ünal^Çiğdem 王" in printed
    assert not any(char in printed for char in "\x1b\x9b\x07\r\u202e\0\x7f")


def test_a_model_card_shows_its_text_and_obeys_none_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_markdown("# Card\x1b[2J\n\n- one\u202e\n- two\x9b31m\n\n[here](http://elsewhere)\n")
    printed = capsys.readouterr().out
    assert not any(char in printed for char in "\x1b\x9b\u202e")
    assert "http://elsewhere" in printed
