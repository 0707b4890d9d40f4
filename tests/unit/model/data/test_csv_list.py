from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model.data.csv_list import read_csv_list
from model.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = ("path", "patient_id")


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("path,patient_id,Note\na,1,é\nb,2,x\n", id="commas"),
        pytest.param("path;patient_id;Note\na;1;é\nb;2;x\n", id="semicolons"),
        pytest.param("path\tpatient_id\tNote\na\t1\té\nb\t2\tx", id="tabs, last line not ended"),
        pytest.param("path,patient_id,Note\na,1,é\nb,2,x\n".encode("utf-8-sig"), id="byte order mark"),
        pytest.param("path;patient_id;Note\na;1;é\nb;2;x\n".encode("cp1252"), id="Windows-1252"),
        pytest.param("path,patient_id,Note\r\na,1,é\r\nb,2,x\r\n", id="CRLF"),
        pytest.param("path,patient_id,Note\ra,1,é\rb,2,x\r", id="CR"),
        pytest.param(" PATH , Patient ID ,Note\n a , 1 , é \nb,2,x\n", id="capitals and spaces"),
        pytest.param('"path","patient_id","Note"\n"a","1","é"\n"b","2","x"\n', id="quotes"),
        pytest.param(
            "# from the archive\n\npath,patient_id,Note\na,1,é\n  # more, to come\n,,\n\nb,2,x\n\n", id="gaps"
        ),
    ],
)
def test_a_list_is_read_however_it_was_saved(tmp_path, content):
    found = read_csv_list(written(tmp_path, content), KNOWN)
    assert found.columns == ("path", "patient_id", "Note")
    assert [dict(line.cells) for line in found.lines] == [
        {"path": "a", "patient_id": "1", "Note": "é"},
        {"path": "b", "patient_id": "2", "Note": "x"},
    ]
    assert not any(line.problem for line in found.lines)


def test_a_quoted_cell_may_hold_separators_quotes_line_ends_and_a_hash(tmp_path):
    found = read_csv_list(written(tmp_path, '"path";"note, if any"\n"#a;1";"say ""no""\n# no comment"\nb;\n'), KNOWN)
    assert found.columns == ("path", "note, if any")
    assert [tuple(line.cells.values()) for line in found.lines] == [("#a;1", 'say "no"\n# no comment'), ("b", "")]
    assert [line.number for line in found.lines] == [2, 4]


@pytest.mark.parametrize(
    ("content", "header"),
    [("", 1), ("# nothing\n\n", 1), ("# first\npath,other\n", 2)],
    ids=["empty", "comment", "header"],
)
def test_a_list_without_lines_says_where_its_columns_are(tmp_path, content, header):
    found = read_csv_list(written(tmp_path, content), KNOWN)
    assert (found.header, found.lines) == (header, ())
    assert found.columns == (("path", "other") if "path" in content else ())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1", "there are 2 columns, but 1 cell"),
        ("1,2,3", "there are 2 columns, but 3 cells"),
        ('"1,2', "a quotation mark"),
        ('"1"x,2', "a quotation mark"),
        ("x" * 200_000 + ",2", "a cell is too long"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_the_others_are_taken(tmp_path, line, problem):
    found = read_csv_list(written(tmp_path, f"path,other\na,b\n{line}\nc,d\n"), KNOWN)
    assert [bool(each.problem) for each in found.lines] == [False, True, False]
    bad = found.lines[1]
    assert (bad.number, dict(bad.cells)) == (3, {})
    assert problem in bad.problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,PATH\n1,2\n", r"list\.csv, line 1: every column needs a name of its own"),
        ("\n# x\npath,\n1,2\n", r"list\.csv, line 3: every column needs a name of its own"),
        ('"path,other\n1,2\n', r"list\.csv, line 1: a quotation mark"),
        ("path,other\n1,2\n".encode("utf-16"), r"list\.csv is not text in UTF-8 or Windows-1252"),
        (b"path,other\n1,\x81\n", r"list\.csv is not text in UTF-8 or Windows-1252"),
    ],
)
def test_a_file_that_is_not_a_list_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_csv_list(written(tmp_path, content), KNOWN)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.csv cannot be read \(No such file or directory\)"):
        read_csv_list(tmp_path / "absent.csv", KNOWN)
