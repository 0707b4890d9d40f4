"""Lists that grow are read in pages: each row comes once, in the order of the whole list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.database import BOTH, fresh_site
from worker.db.filing.disputes import conflicts
from worker.db.read.corrections import corrections
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration


@pytest.fixture(params=BOTH)
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path)


def paged(page: Callable[[int | None], list[dict[str, Any]]], number: str) -> list[int]:
    """The numbers of all rows, read page by page."""
    seen: list[int] = []
    while rows := page(seen[-1] if seen else None):
        assert len(rows) <= 3
        seen += [row[number] for row in rows]
    return seen


def test_conflicts_come_in_pages(site):
    for number in range(7):
        site.receive(f"1.{number}", f"1.{number}.1", patient_id="A")
        site.receive(f"1.{number}", f"1.{number}.2", patient_id="B")
    with site.sessions() as session:
        whole = [row["conflict_id"] for row in conflicts(session)]
        assert len(whole) == 7
        assert paged(lambda after: conflicts(session, after=after, limit=3), "conflict_id") == whole
        assert conflicts(session, decided=True, after=whole[-1], limit=3) == []


def test_corrections_of_the_same_moment_come_in_pages(site):
    site.receive("1.1", "1.1.1", patient_id="A")
    for number in range(7):
        site.change(
            "INSERT INTO correction (study_id, at, source, column_name, old_value, new_value) "
            f"VALUES (1, '2026-02-0{1 + number // 3} 00:00:00', '', 'patient_name', 'old', 'new')"
        )
    with site.sessions() as session:
        whole = [row["correction_id"] for row in corrections(session)]
        assert len(whole) == 7
        assert paged(lambda after: corrections(session, after=after, limit=3), "correction_id") == whole
        with pytest.raises(UsageError, match="none has 99"):
            corrections(session, after=99)
