"""A worker keeps few models open, however many its tasks name."""

from __future__ import annotations

import pytest

from tests.support.database import fresh_site
from worker.judging import task_worker
from worker.judging.task_worker import Classifiers
from worker.settings import Settings

pytestmark = pytest.mark.integration


@pytest.fixture
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path, "sqlite")


def test_the_model_that_was_used_longest_ago_is_closed_for_another(site, tmp_path, monkeypatch):
    monkeypatch.setattr(task_worker, "MOST_OPEN", 2)
    classifiers = Classifiers(Settings(home=tmp_path), site.sessions)
    first, second = classifiers.of("auscult-1"), classifiers.of("auscult-2")
    assert classifiers.of("auscult-1") is first
    classifiers.of("notebook-1")
    assert classifiers.of("auscult-1") is first
    assert classifiers.of("auscult-2") is not second
