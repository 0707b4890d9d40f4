"""Judge files by the same functions that a worker uses; runs in the process of `worker.judging.confined`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dicom_io.create.wrap import wrap_picture
from dicom_io.errors import DicomIoError, FilmError, NotDicom
from dicom_io.film.picture_file import is_picture
from dicom_io.header.reader import facts_of, read_facts
from dicom_io.reasons import Reason
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from worker.db.answers.results import Judgement
from worker.judging.memory import within_memory
from worker.judging.pipeline import judge_film
from worker.judging.readers import film_of_file
from worker.models.active import active_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.header.facts import GateFacts
    from worker.settings import Settings


class FileJudge:
    """One model and the settings to judge by; raises ModelError when the model cannot be opened."""

    def __init__(self, settings: Settings, model: str | None) -> None:
        self._settings = settings
        bundle = active_bundle(settings, model)
        self._classifier = Classifier(bundle, open_engine(bundle, settings.engine))

    @property
    def named(self) -> dict[str, Any]:
        """Name and version of the model, as in an answer."""
        bundle = self._classifier.bundle
        return {"model": bundle.name, "version": bundle.version}

    def answer(self, path: Path) -> dict[str, Any]:
        """The answer for a file, also for one that cannot be read: the fields of ``FileAnswer`` as plain values."""
        judgement = self._judge(path)
        score, film = judgement.score, judgement.film
        return {
            "path": str(path),
            "outcome": judgement.outcome,
            "reason": judgement.reason,
            "flags": judgement.flags,
            **(asdict(score) if score else {}),
            "unlikeness": judgement.unlikeness,
            **({"film_sha256": film.sha256, "film_version": film.version} if film else {}),
            **self.named,
        }

    def _judge(self, path: Path) -> Judgement:
        limit = self._settings.film_memory_mb
        try:
            facts = within_memory(limit, lambda: _facts(path))
            return judge_film(
                self._classifier,
                facts,
                lambda: within_memory(limit, lambda: film_of_file(path)),
                self._settings.policies,
            )
        except FilmError as error:
            return Judgement(error.reason)
        except NotDicom:
            return Judgement(Reason.NOT_DICOM)
        except (DicomIoError, OSError):
            return Judgement(Reason.UNREADABLE)


def _facts(path: Path) -> GateFacts:
    return facts_of(wrap_picture(path)) if is_picture(path) else read_facts(path)
