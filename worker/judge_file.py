"""Judge files on the spot by the very functions a worker uses; runs in the process of `worker.confined`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_io.errors import DicomIoError, FilmError, NotDicom
from dicom_io.film import is_picture
from dicom_io.header import facts_of, read_facts
from dicom_io.reasons import Reason
from dicom_io.wrap import wrap_picture
from model.engine import Classifier, open_engine
from worker.bootstrap import active_bundle
from worker.classify import Answer
from worker.memory import within_memory
from worker.pipeline import Judgement, judge_film
from worker.readers import film_of_file

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.facts import GateFacts
    from worker.settings import Settings


class FileJudge:
    """One model and the settings to judge by; raises ModelError when the model cannot be opened."""

    def __init__(self, settings: Settings, model: str | None) -> None:
        self._settings = settings
        bundle = active_bundle(settings, model)
        self._classifier = Classifier(bundle, open_engine(bundle, settings.engine))

    @property
    def named(self) -> dict[str, Any]:
        """The model as answers name it."""
        bundle = self._classifier.bundle
        return {"model": bundle.name, "version": bundle.version}

    def answer(self, path: Path) -> Answer:
        """The answer for a file, also for one that cannot be read."""
        return _answer(path, self._judge(path), self.named)

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


def _answer(path: Path, judgement: Judgement, named: dict[str, Any]) -> Answer:
    score, film = judgement.score, judgement.film
    return Answer(
        path=str(path),
        outcome=judgement.outcome,
        reason=judgement.reason,
        flags=judgement.flags,
        label=score.label if score else None,
        probability=score.probability if score else None,
        logit=score.logit if score else None,
        threshold=score.threshold if score else None,
        band=score.band if score else None,
        unlikeness=judgement.unlikeness,
        film_sha256=film.sha256 if film else None,
        film_version=film.version if film else None,
        **named,
    )
