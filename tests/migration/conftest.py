from __future__ import annotations

import pytest

from worker.db.schema.engine import make_engine


@pytest.fixture
def engine(database_url):
    engine = make_engine(database_url)
    yield engine
    engine.dispose()
