"""What workers have of the process that forked them: its file, which tells whether it has ended, and the model that it opened.

LiteRT works on a copy of the weights that it has packed, and never writes to it again: processes that are forked from the
one that opened a network share that copy, 14 MB for each further one. With one thread LiteRT starts none, so a fork may use it.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.errors import ModelError
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from worker.allocator import drop_pages
from worker.models.active import bundle_of

if TYPE_CHECKING:
    from model.serving.bundle import Bundle
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Parent:
    """The process that forked a worker, or that started one by itself."""

    #: The key of its `worker.presence.Presence`; empty where it has none.
    key: str = ""
    #: The model that it opened; None where it opened none.
    classifier: Classifier | None = None

    def classifier_of(self, bundle: Bundle) -> Classifier | None:
        """The classifier of a bundle, if that is the one that the parent opened."""
        shared = self.classifier
        return shared if shared and _identity(shared.bundle) == _identity(bundle) else None


NO_PARENT = Parent()


def open_for_forks(settings: Settings, model: str | None) -> Classifier | None:
    """Open a model in the process that forks workers; None where it cannot be opened: they try it themselves and say why.

    Nor is it opened for Keras: TensorFlow that was used before a fork hangs after it.
    """
    if model is None or settings.engine != "litert":
        return None
    try:
        bundle = bundle_of(settings, model)
        opened = Classifier(bundle, open_engine(bundle, settings.engine))
    except (ModelError, OSError):
        return None
    drop_pages(bundle.litert_path)
    # The garbage collector writes to what it visits, and a page that is written to is no longer shared.
    gc.freeze()
    return opened


def _identity(bundle: Bundle) -> tuple[str, ...]:
    return bundle.label, bundle.litert_sha256, bundle.weights_sha256, bundle.digest
