"""The documents tell the truth: every setting, verb, status, reason and column of the public contract is in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from dicom_io.reasons import Reason
from dicom_io.rules import RULES
from dicom_io.status import StoreStatus
from dicom_io.syntaxes import CODINGS
from worker.cli.command import app
from worker.db.views import WORKLIST
from worker.environment import PREFIX
from worker.settings import Settings

ROOT = Path(__file__).parents[2]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_readme_with_its_description(name: str) -> None:
    description = Settings.model_fields[name].description
    assert f"| `{PREFIX}{name.upper()}` |" in text_of("README.md")
    assert description
    assert description in text_of("README.md")


def verbs() -> list[str]:
    group = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        found += [f"{name} {verb}" for verb in command.commands] if hasattr(command, "commands") else [name]
    return found


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_in_the_readme(verb: str) -> None:
    assert f"`auscult {verb}" in text_of("README.md")


@pytest.mark.parametrize("status", list(StoreStatus))
def test_every_store_status_is_in_the_conformance_statement(status: StoreStatus) -> None:
    assert re.search(rf"^\| 0x{status.code:04X}\b", text_of("CONFORMANCE.md"), re.MULTILINE)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_in_the_conformance_statement_with_its_outcome(reason: Reason) -> None:
    text = text_of("CONFORMANCE.md")
    if reason.outcome is None:
        assert reason in text
    else:
        assert f"| {reason} | {reason.outcome} |" in text


def test_the_gates_table_is_that_of_the_conformance_statement() -> None:
    written = text_of("CONFORMANCE.md").partition("<!-- gate -->\n")[2].partition("\n<!-- /gate -->")[0]
    rows = [
        f"| {rule.reason} | {rule.reason.outcome} | {rule.stage} "
        f"| {rule.policy}{'' if rule.is_changeable else ', fixed'} | {rule.reads} | {rule.reason.sentence} |"
        for rule in RULES
    ]
    assert written.splitlines()[2:] == rows


def test_the_conformance_statement_lists_exactly_the_codings_that_are_decoded() -> None:
    table = text_of("CONFORMANCE.md").partition("<!-- transfer syntaxes -->")[2].partition("#### ")[0]
    assert set(re.findall(r"\| (1\.2\.840\.10008\.1\.2[0-9.]*) \|", table)) == set(CODINGS)


@pytest.mark.parametrize("column", WORKLIST.columns.keys())
def test_every_worklist_column_is_in_the_readme(column: str) -> None:
    assert f"`{column}`" in text_of("README.md")


def test_the_documents_say_that_auscult_is_no_medical_device() -> None:
    for name in ("README.md", "CONFORMANCE.md", "model/bundles/notebook-1/MODEL_CARD.md"):
        assert re.search(r"not a medical device", text_of(name), re.IGNORECASE)
