"""Every block of commands and every query in README.md and docs/ is executed, or says why not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import CONSOLE, ROOT, blocks, pages
from tests.support.sites import new_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.database import Database

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

#: Between two blocks of a page, which share one shell as they share the reader's.
_MARK = "==== end of the block ===="
PAGES = [path for path in pages() if any(not block.why_not for block in blocks(path, CONSOLE))]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home of a user who ran the demo with every default; README and pages are read in it, one after the other."""
    with new_site() as site:
        folder = site.home.parent
        if shutil.which("sqlite3") is None:
            stand_in(folder)
        done = run(folder, "auscult demo --once\n")
        assert done.returncode == 0, done.stdout
        yield folder


def stand_in(home: Path) -> None:
    """Put a program on the reader's PATH that answers as sqlite3 does."""
    program = home / "bin" / "sqlite3"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests/support/sqlite_shell.py"} "$@"\n')
    program.chmod(0o755)


def run(home: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script as the reader's shell does, with defaults but for the port; what it prints is one stream."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AUSCULT_", "XDG_"))}
    env |= {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}:{home / 'bin'}",
        "AUSCULT_PORT": "0",
    }
    work = home / "work"
    work.mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=work,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )


def essence(text: str) -> list[str]:
    """Lines without what differs from run to run: numbers, spaces, rules of tables."""
    lines = (re.sub(r"\d+(\.\d+)*", "0", " ".join(line.split())) for line in text.splitlines())
    return [line for line in lines if re.search(r"\w", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_commands_of_a_page_do_what_the_page_says(page: Path, home: Path) -> None:
    chosen = [block for block in blocks(page, CONSOLE) if not block.why_not]
    done = run(home, f"\necho '{_MARK}'\n".join(block.body for block in chosen))
    printed = done.stdout.split(f"{_MARK}\n")
    last = chosen[len(printed) - 1]
    assert done.returncode == 0, f"{last.page}, line {last.line}, ended with {done.returncode}:\n{printed[-1]}"
    for block, text in zip(chosen, printed, strict=True):
        missing = [line for line in essence(block.output) if line not in essence(text)]
        assert not missing, f"{block.page}, line {block.line}: not printed: {missing}\n{text}"


def test_every_query_of_the_pages_is_answered_by_both_databases(database: Database) -> None:
    queries = [block for page in pages() for block in blocks(page, ("sql",))]
    assert queries
    with database.engine.connect() as connection:
        for query in queries:
            assert connection.exec_driver_sql(query.body).keys(), f"{query.page}, line {query.line}"
