"""The documents tell the truth: every setting, verb, status, reason and column of the public contract is in them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import dev
from dicom_io.gate.rules import RULES
from dicom_io.inbox.status import StoreStatus
from dicom_io.pixels.syntaxes import CODINGS
from dicom_io.reasons import Reason
from docs.hooks import DOCUMENTS, REFERENCE, verbs
from tests.support.documents import CONSOLE, ROOT, blocks, pages
from worker.db.audit.codes import Act
from worker.db.contract.views import VIEWS
from worker.db.schema.states import ModelState, StudyState
from worker.environment import PREFIX
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

#: A script, a style, a font or a picture that a browser would fetch from another host.
FOREIGN = re.compile(
    r"""<(?:script|img|link|iframe)[^>]*(?:src|href)=["']?(?:https?:)?//[^>]*>|@import|url\(["']?https?:"""
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return {name: write() for name, write in REFERENCE.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as they are built."""
    folder = tmp_path_factory.mktemp("docs")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def build(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the pages of a checkout by the command of `dev.py check`."""
    command = [sys.executable, "-m", *dev.CHECKS["docs"], "--site-dir", str(folder)]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_reference_with_its_description(name: str, reference: dict[str, str]) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert re.search(rf"^\| `{PREFIX}{name.upper()}` \| .*\| {re.escape(description)} \|$", reference["settings"], re.M)


def test_the_reference_shows_the_range_of_a_setting(reference: dict[str, str]) -> None:
    assert f"| `{PREFIX}PORT` | `11112` | from 0 to 65535 | " in reference["settings"]
    assert f"| `{PREFIX}PDU_TIMEOUT_S` | `60.0` | above 0 | " in reference["settings"]
    assert f"| `{PREFIX}ENGINE` | `litert` | `litert`, `keras` | " in reference["settings"]


def test_the_conformance_statement_quotes_the_defaults_of_the_settings() -> None:
    quoted = re.findall(rf"`{PREFIX}(\w+)` \(([\d.]+)", text_of("CONFORMANCE.md"))
    assert len(quoted) >= 10
    for name, value in quoted:
        assert float(value) == Settings.model_fields[name.lower()].default, name


@pytest.mark.parametrize("verb", [name for name, _ in verbs()])
def test_every_verb_is_in_the_reference(verb: str, reference: dict[str, str]) -> None:
    assert f"\n## `auscult {verb}` " in reference["commands"]


@pytest.mark.parametrize("verb", [name for name, _ in verbs()])
def test_every_verb_is_told_about_on_a_page(verb: str) -> None:
    told = "\n".join(" ".join(page.read_text(encoding="utf-8").split()) for page in pages())
    assert f"auscult {verb}" in told or f"`{verb}`" in told


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_in_the_reference(reason: Reason, reference: dict[str, str]) -> None:
    assert f"| `{reason}` |" in reference["reasons"]


@pytest.mark.parametrize("state", [*StudyState, *ModelState])
def test_every_state_is_in_the_reference_with_its_meaning(state: str, reference: dict[str, str]) -> None:
    assert re.search(rf"^\| `{state}` \| \w", reference["statuses"], re.M)


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_the_columns_of_a_view_are_in_the_reference_with_their_meaning(view: str, reference: dict[str, str]) -> None:
    section = reference["views"].partition(f"\n## {view}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == [column.name for column in VIEWS[view].columns]


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


@pytest.mark.parametrize("act", Act)
def test_every_act_that_is_audited_is_on_the_page_of_the_audit_trail(act: Act) -> None:
    assert f"`{act}`" in (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")


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


def test_the_documents_say_that_auscult_is_no_medical_device() -> None:
    for name in (
        "README.md",
        "docs/index.md",
        "docs/models.md",
        "CONFORMANCE.md",
        "model/bundles/notebook-1/MODEL_CARD.md",
    ):
        assert re.search(r"not a medical device", text_of(name), re.IGNORECASE)


def test_the_readme_is_for_the_first_five_minutes() -> None:
    text = text_of("README.md")
    assert len(text.split()) <= 700
    first_screen = "\n".join(text.splitlines()[:15])
    assert "python3 dev.py run" in first_screen
    assert "python3 dev.py test" in first_screen


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.stem)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    # The regular expression must see every fence that there is, or a block would be neither run nor marked.
    text = page.read_text(encoding="utf-8")
    assert len(blocks(page, CONSOLE)) == len(re.findall(rf"^ *```(?:{'|'.join(CONSOLE)})\b", text, re.M))
    for block in blocks(page, CONSOLE):
        for name in re.findall(r"tests/[\w/.]+\w", block.why_not):
            assert (ROOT / name).exists(), f"{block.page}, line {block.line}: {name}"
    marked = len(re.findall("<!-- not run: .* -->", text))
    assert marked == sum(bool(block.why_not) for block in blocks(page, CONSOLE))


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.stem)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:tests|docker|docs|model|worker)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name


def test_the_pages_build_without_a_warning_and_fetch_nothing_from_other_hosts(site: Path) -> None:
    built = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(built) > 15
    assert {str(path): found[0] for path in built if (found := FOREIGN.search(path.read_text(encoding="utf-8")))} == {}


def test_a_link_that_leads_nowhere_fails_the_check(tmp_path: Path) -> None:
    for name in ("mkdocs.yml", "migrations", *DOCUMENTS):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "docs" / "query.md").write_text("# Query results\n\n[more](nowhere.md)\n")
    done = build(tmp_path, tmp_path / "built")
    assert done.returncode == 1
    assert "nowhere.md" in done.stderr


def test_a_link_to_a_document_of_the_root_leads_to_its_page(site: Path) -> None:
    assert 'href="conformance.html"' in (site / "connect.html").read_text(encoding="utf-8")
    assert "When a study counts as complete" in (site / "conformance.html").read_text(encoding="utf-8")
