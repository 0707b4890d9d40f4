"""A worker's context for tests that do not look at films."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_io.film.store import FilmStore
from dicom_io.gate.judge import DEFAULT_POLICIES
from dicom_io.inbox.store import Store
from tests.support.database import LEASE_MS, MAX_ATTEMPTS
from worker.db.tasks.claims import Claimant
from worker.judging.pipeline import WorkerContext

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.database import Site


def context_of(site: Site, folder: Path, **others: Any) -> WorkerContext:
    """The context of a worker without a model; `others` as `WorkerContext` names them."""

    def no_model(model: str) -> Any:
        raise AssertionError(model)

    values = {
        "claimant": Claimant("me", LEASE_MS, MAX_ATTEMPTS),
        "sessions": site.sessions,
        "store": Store(folder / "store"),
        "films": FilmStore(folder / "films"),
        "classifier_of": no_model,
        "backoff_ms": 0,
        "engine": "litert",
        "policies": DEFAULT_POLICIES,
        "film_memory_mb": 512,
    }
    return WorkerContext(**{**values, **others})
