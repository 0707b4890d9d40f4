"""HAZARDS.md names real tests: a control without a test that fails is none."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.support.documents import ROOT

ROW = re.compile(r"^\| (?P<id>[A-Z]\d+) \|(?P<cells>.*)\|$", re.MULTILINE)
TEST = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<name>\w+)`")
TEXT = (ROOT / "HAZARDS.md").read_text(encoding="utf-8")
ROWS = {row["id"]: [cell.strip() for cell in row["cells"].split(" | ")] for row in ROW.finditer(TEXT)}
NAMED = sorted({(test["file"], test["name"]) for cells in ROWS.values() for test in TEST.finditer(cells[-1])})


@cache
def names_in(file: str) -> frozenset[str]:
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


@pytest.mark.parametrize("row", sorted(ROWS))
def test_a_row_says_the_hazard_how_it_could_happen_the_control_and_its_test(row):
    cells = ROWS[row]
    assert len(cells) == 4
    assert all(cells)
    assert TEST.sub("", cells[-1]).strip(" ,") == "", "the last cell names tests and nothing else"
    assert TEST.search(cells[-1])


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_named_test_is_there(file, name):
    assert name in names_in(file)


def test_the_rows_are_numbered_in_order_and_once():
    ids = [row["id"] for row in ROW.finditer(TEXT)]
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids, key=lambda text: (text[0], int(text[1:])))
