"""The layout that ARCHITECTURE.md promises: a folder for each step, small, and described where it is."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.documents import ROOT

PACKAGES = ("dicom_io", "model", "worker")
MOST_FILES, MOST_LINES, MOST_WORDS_EXPLAINED = 16, 400, 40
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if not path.is_relative_to(ROOT / "model" / "bundles")
)
ROOMS = sorted({path.parent for path in MODULES})


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_holds_few_files(room):
    assert len(list(room.glob("*.py"))) <= MOST_FILES


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_not_long(module):
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("room", [room for room in ROOMS if room.name not in PACKAGES], ids=name_of)
def test_a_room_says_what_goes_in_and_out_and_what_it_may_import(room):
    says = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert "In: " in says, says
    assert "Out: " in says, says
    assert "May import: " in says, says


def listed_rooms():
    """Read the tree of ARCHITECTURE.md, two spaces for each level."""
    tree = re.search(r"```text\n(dicom_io/.*?)```", ARCHITECTURE, re.DOTALL)
    assert tree, "ARCHITECTURE.md has no tree"
    above: list[str] = []
    for line in tree[1].splitlines():
        folder = line.split("/")[0]
        above[(len(folder) - len(folder.lstrip())) // 2 :] = [folder.lstrip()]
        yield "/".join(above)


def test_the_architecture_lists_every_room_and_no_other():
    assert sorted(listed_rooms()) == sorted(map(name_of, ROOMS))


def test_every_file_that_the_architecture_names_is_there():
    named = re.findall(r"`((?:dicom_io|model|worker|migrations|tests|docs|docker)/[\w./]*)`", ARCHITECTURE)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_glossary_is_short_and_in_order():
    glossary = ARCHITECTURE.split("## Glossary")[1].split("## ")[0]
    words = [row.split("|")[1].strip() for row in glossary.splitlines() if row.startswith("| ")][1:]
    words = [word for word in words if set(word) != {"-"}]
    assert 20 <= len(words) <= MOST_WORDS_EXPLAINED
    assert words == sorted(words)
