"""Migrations stand alone: code that changes later must not change the rows that an old revision writes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from worker.db.schema.revision import known_revisions, scripts_folder

if TYPE_CHECKING:
    from pathlib import Path

#: What a migration may take from the packages: helpers that create a view from its versioned text, and the clock in SQL.
HELPERS = {
    "worker.db.schema.views.create_view",
    "worker.db.schema.views.drop_view",
    "worker.db.schema.types.NOW_UTC",
}
VERSIONS = sorted(scripts_folder().glob("versions/*.py"))


def names_imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{item.name}" for item in node.names}
        elif isinstance(node, ast.Import):
            names |= {item.name for item in node.names}
    return names


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_migration_imports_nothing_of_the_packages_but_the_helpers(path):
    of_packages = {name for name in names_imported_by(path) if name.split(".")[0] in {"dicom_io", "model", "worker"}}
    assert of_packages <= HELPERS


def test_every_migration_is_looked_at():
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()))
    revisions = [found.revision for found in ScriptDirectory.from_config(config).walk_revisions()]
    assert len(VERSIONS) == len(revisions)
    # The check at each start goes by the names of the files, and Alembic by what is written in them.
    assert known_revisions() == sorted(revisions)
    assert known_revisions()[-1] == ScriptDirectory.from_config(config).get_current_head()


@pytest.fixture
def meanings():
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()))
    return ScriptDirectory.from_config(config).get_revision("0004").module.MEANINGS


@pytest.mark.parametrize(
    ("column", "text", "kept"),
    [
        ("modality", "DX", "DX"),
        ("modality", "X-Ray", "RG"),
        ("modality", "SMITH", "OT"),
        ("modality", "", ""),
        ("body_part", "chest, portable", "CHEST PORTABLE"),
        ("body_part", "CHEST SMITH", "CHEST"),
        ("body_part", "흉부", "CHEST"),
        ("body_part", "CHEST ABDOMEN SMITH", "OTHER"),
        # The gate has learned since that a word it does not know says nothing, ...
        ("body_part", "SMITH JOHN", "OTHER"),
        ("body_part", "", ""),
        ("view_position", "a.p.", ""),
        ("view_position", "POSTERO-ANTERIOR", "FRONTAL"),
        ("view_position", "LAT SMITH", "LATERAL"),
        ("view_position", "AP/LAT JOHN", ""),
        ("view_position", "AP OBLIQUE SMITH", "LATERAL"),
        ("view_position", "DECUBITUS SMITH", ""),
        # ... and this word.
        ("view_position", "LATERAAL", ""),
    ],
)
def test_0004_keeps_what_the_words_meant_when_it_was_written(meanings, column, text, kept):
    assert meanings[column](text) == kept
