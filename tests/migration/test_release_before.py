"""The release before works on the schema of this one: its processes run on while a site migrates and rolls over."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from tests.support.migrations import head, with_rows
from worker.db.schema.engine import make_engine
from worker.db.schema.migrate import migrate

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
#: CHANGELOG.md names the last commit of the release before.
NAMED = re.compile(r"release before: commit ([0-9a-f]{40}), schema (\d{4})")
#: Runs the release before: it starts on its own schema, claims a film, waits while the database is migrated, and goes on.
OLD = """
import json, sys
import worker
from tests.support.database import Site, scored
from worker.db.read import queries
from worker.db.tasks import claims

assert worker.__file__.startswith(sys.argv[2]), worker.__file__
site = Site(sys.argv[1])
early = site.receive("1.2.3", "1.2.3.1")
claim = site.claimed(early.task_id)
print("ready", flush=True)
sys.stdin.readline()
assert claims.finish(site.sessions, claim, scored(0.9))
late = site.receive("1.2.4", "1.2.4.1")
site.finish(late.task_id, scored(0.1))
again = site.receive("1.2.3", "1.2.3.2")
site.finish(again.task_id, scored(0.2))
site.settle()
with site.sessions() as session:
    rows = queries.worklist(session)
print(json.dumps({row["study_uid"]: [row["ai_status"], row["label"], row["n_images"]] for row in rows}), flush=True)
"""


def release_before() -> tuple[str, str]:
    """The commit and the schema of the release before, as CHANGELOG.md names them."""
    named = NAMED.search((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert named, "CHANGELOG.md names the commit of the release before"
    return named[1], named[2]


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release before, unpacked from the repository."""
    commit, _ = release_before()
    packed = ["git", "-C", str(ROOT), "archive", "--format=zip", commit]
    archive = subprocess.run(packed, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"this checkout has no commit {commit[:12]} (a shallow clone, or none): run it from a whole one")
    folder = tmp_path_factory.mktemp("before")
    with zipfile.ZipFile(io.BytesIO(archive.stdout)) as files:
        files.extractall(folder)
    return folder


def test_the_release_before_goes_on_while_and_after_the_database_is_migrated(
    old_code: Path, database_url: str, tmp_path: Path
) -> None:
    engine = make_engine(database_url)
    with_rows(engine, command.upgrade, release_before()[1])
    old = subprocess.Popen(
        [sys.executable, "-c", OLD, database_url, str(old_code)],
        cwd=old_code,
        env={**os.environ, "PYTHONPATH": str(old_code), "AUSCULT_HOME": str(tmp_path / "home")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with old:
        assert old.stdin is not None
        assert old.stdout is not None
        try:
            assert old.stdout.readline() == "ready\n"
            assert migrate(engine).after == head()
            said, _ = old.communicate("go on\n", timeout=100)
        finally:
            old.kill()
    with engine.connect() as connection:
        filled = (
            "SELECT count(*) FROM worklist_v3 WHERE change_id > 0 AND completed_at IS NOT NULL AND priority_rank > 0"
        )
        assert connection.execute(text(filled)).scalar_one() == 2, "what triggers keep is kept for it too"
    engine.dispose()
    assert old.returncode == 0
    assert json.loads(said) == {"1.2.3": ["FINAL", "PNEUMONIA", 2], "1.2.4": ["FINAL", "NORMAL", 1]}
