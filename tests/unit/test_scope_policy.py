"""A film that is unlike the training films: refused, flagged or accepted, as the site wants it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from dicom_io.facts import GateFacts
from dicom_io.film import Film
from dicom_io.reasons import Flag, Outcome, Reason
from model.engine import Classifier, Score
from model.labels import Band
from tests.helpers_bundle import shipped_bundle
from worker.pipeline import judge_film
from worker.settings import load_settings

CHEST = GateFacts(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    modality="DX",
    body_part="CHEST",
    view_position="AP",
    age_months=36,
    rows=256,
    columns=256,
)
FILM = Film(np.arange(256 * 256, dtype=np.uint32).reshape(256, 256).astype(np.uint8), 1)


class SureEngine:
    """An engine that finds every film the same."""

    def logits(self, batch: np.ndarray) -> np.ndarray:
        return np.full(len(batch), 2.0)


class ScopedClassifier(Classifier):
    """A classifier that knows how unlike the training films every film is."""

    def __init__(self, unlikeness: float | None) -> None:
        super().__init__(shipped_bundle(), SureEngine())
        self._unlikeness = unlikeness

    def score(self, film: np.ndarray) -> Score:
        return dataclasses.replace(super().score(film), band=Band.HIGH, unlikeness=self._unlikeness)


def judged(unlikeness: float | None, *policy: Any, facts: GateFacts = CHEST):
    return judge_film(ScopedClassifier(unlikeness), facts, lambda: FILM, *policy)


@pytest.mark.parametrize("policy", [(), ("refuse",)])
def test_by_default_a_film_out_of_scope_is_refused_without_an_answer(policy):
    found = judged(1.01, *policy)
    assert (found.outcome, found.reason, found.flags) == (Outcome.NOT_APPLICABLE, Reason.UNLIKE_TRAINING, ())
    assert found.score is None
    assert (found.film, found.unlikeness) == (FILM, 1.01)
    assert found.inference_ms is not None


def test_a_film_out_of_scope_is_answered_with_a_flag_where_the_site_wants_that():
    found = judged(7.5, "flag", facts=dataclasses.replace(CHEST, age_months=None))
    assert (found.outcome, found.reason) == (Outcome.OK, None)
    assert set(found.flags) == {Flag.AGE_UNKNOWN, Flag.UNLIKE_TRAINING}
    assert found.score is not None
    assert (found.score.label, found.score.band, found.unlikeness) == ("PNEUMONIA", "HIGH", 7.5)


def test_a_film_out_of_scope_is_answered_as_any_other_where_the_site_accepts_it():
    found = judged(7.5, "accept")
    assert (found.outcome, found.flags, found.unlikeness) == (Outcome.OK, (), 7.5)
    assert found.score is not None


@pytest.mark.parametrize("policy", ["refuse", "flag", "accept"])
@pytest.mark.parametrize("unlikeness", [None, 0.0, 0.99, 1.0])
def test_a_film_in_scope_or_a_model_that_cannot_tell_is_no_matter_of_the_policy(policy, unlikeness):
    found = judged(unlikeness, policy)
    assert (found.outcome, found.flags, found.unlikeness) == (Outcome.OK, (), unlikeness)
    assert found.score is not None


def test_the_header_refuses_before_any_picture_is_looked_at():
    found = judged(7.5, "flag", facts=dataclasses.replace(CHEST, body_part="HAND"))
    assert (found.reason, found.unlikeness, found.film) == (Reason.NOT_CHEST, None, None)


def test_the_policy_is_a_setting_and_refuses_by_default(tmp_path):
    assert load_settings(home=tmp_path).unlike_policy == "refuse"
    assert load_settings(home=tmp_path, unlike_policy="flag").unlike_policy == "flag"
