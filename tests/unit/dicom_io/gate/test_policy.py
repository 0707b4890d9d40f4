"""Policies of a site: what happens to a film that a rule applies to, from the header to the network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dicom_io.create.phantom import drawn_chests
from dicom_io.film.film import Film
from dicom_io.gate.judge import AgeRange, GateInput, Policies, RuleStage, each_rule, judge
from dicom_io.header.facts import GateFacts
from dicom_io.reasons import Outcome, Reason
from model.input_statistics import input_statistics
from model.labels import Band
from model.serving.classifier import Classifier, Score
from tests.support.helpers_bundle import shipped_bundle
from tests.support.patterns import drawn_patterns
from worker.errors import SettingsError
from worker.judging.pipeline import judge_film
from worker.settings import child_environment, load_settings

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
FILM = Film(drawn_chests()["NORMAL"])
NEGATIVE = Film(255 - FILM.pixels)
PATTERN = Film(drawn_patterns(256, 256)["smpte"])


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


def judged(unlikeness: float | None = 0.5, policies: str = "", *, facts: GateFacts = CHEST, film: Film = FILM):
    return judge_film(ScopedClassifier(unlikeness), facts, lambda: film, Policies.parse(policies))


def test_by_default_a_film_out_of_scope_is_refused_without_an_answer():
    found = judged(1.01)
    assert (found.outcome, found.reason, found.flags) == (Outcome.NOT_APPLICABLE, Reason.UNLIKE_TRAINING, ())
    assert found.score is None
    assert (found.film, found.unlikeness) == (FILM, 1.01)
    assert found.inference_ms is not None


def test_a_film_out_of_scope_is_answered_with_a_flag_where_the_site_wants_that():
    found = judged(7.5, "UNLIKE_TRAINING=flag", facts=dataclasses.replace(CHEST, age_months=None))
    assert (found.outcome, found.reason) == (Outcome.OK, None)
    assert set(found.flags) == {Reason.AGE_UNKNOWN, Reason.UNLIKE_TRAINING}
    assert found.score is not None
    assert (found.score.label, found.score.band, found.unlikeness) == ("PNEUMONIA", "HIGH", 7.5)


def test_a_film_out_of_scope_is_answered_as_any_other_where_the_site_accepts_it():
    found = judged(7.5, "UNLIKE_TRAINING=accept")
    assert (found.outcome, found.flags, found.unlikeness) == (Outcome.OK, (), 7.5)
    assert found.score is not None


@pytest.mark.parametrize("policy", ["refuse", "flag", "accept"])
@pytest.mark.parametrize("unlikeness", [None, 0.0, 0.99, 1.0])
def test_the_policy_does_not_touch_a_film_in_scope_or_a_model_without_a_scope(policy, unlikeness):
    found = judged(unlikeness, f"UNLIKE_TRAINING={policy}")
    assert (found.outcome, found.flags, found.unlikeness) == (Outcome.OK, (), unlikeness)
    assert found.score is not None


def test_what_a_film_looks_like_is_told_of_every_film_that_the_network_has_seen_and_of_no_other():
    look = input_statistics(FILM.pixels)
    assert judged().look == look
    out_of_scope = judged(1.01)
    assert (out_of_scope.score, out_of_scope.look) == (None, look)
    assert judged(film=NEGATIVE).look is None


def test_the_header_refuses_before_any_picture_is_looked_at():
    found = judged(7.5, "UNLIKE_TRAINING=flag", facts=dataclasses.replace(CHEST, body_part="HAND"))
    assert (found.reason, found.unlikeness, found.film) == (Reason.NOT_CHEST, None, None)


@pytest.mark.parametrize(("film", "reason"), [(NEGATIVE, Reason.INVERTED_PICTURE), (PATTERN, Reason.TEST_PATTERN)])
def test_a_film_that_looks_wrong_is_refused_before_the_network_is_asked_and_kept_for_a_re_run(film, reason):
    found = judged(7.5, film=film)
    assert (found.outcome, found.reason, found.flags) == (Outcome.NOT_APPLICABLE, reason, ())
    assert (found.score, found.unlikeness, found.inference_ms) == (None, None, None)
    assert found.film is film
    assert found.decode_ms is not None


@pytest.mark.parametrize(("film", "reason"), [(NEGATIVE, Reason.INVERTED_PICTURE), (PATTERN, Reason.TEST_PATTERN)])
def test_a_film_that_looks_wrong_is_answered_with_a_flag_or_without_where_the_site_wants_that(film, reason):
    flagged, accepted = (judged(film=film, policies=f"{reason}={policy}") for policy in ("flag", "accept"))
    assert (flagged.outcome, flagged.flags) == (Outcome.OK, (reason,))
    assert (accepted.outcome, accepted.flags) == (Outcome.OK, ())


def test_an_answer_carries_the_flags_of_all_stages():
    policies = "AGE_OUT_OF_RANGE=flag,INVERTED_PICTURE=flag,UNLIKE_TRAINING=flag"
    facts = dataclasses.replace(CHEST, age_months=600, view_position="")
    found = judged(7.5, policies, facts=facts, film=NEGATIVE)
    assert found.flags == (
        Reason.VIEW_UNKNOWN,
        Reason.AGE_OUT_OF_RANGE,
        Reason.INVERTED_PICTURE,
        Reason.UNLIKE_TRAINING,
    )


def test_a_phantom_of_the_header_may_be_judged_and_is_still_looked_at():
    facts = dataclasses.replace(CHEST, is_test_object=True)
    assert judged(facts=facts).reason is Reason.TEST_PATTERN
    assert judged(policies="TEST_PATTERN=flag", facts=facts).flags == (Reason.TEST_PATTERN,)
    assert judged(policies="TEST_PATTERN=flag", facts=facts, film=PATTERN).flags == (Reason.TEST_PATTERN,)


def test_the_policies_are_a_setting_and_nothing_by_default(tmp_path):
    assert load_settings(home=tmp_path).policies == Policies()
    settings = load_settings(home=tmp_path, gate_policy="UNLIKE_TRAINING=flag")
    assert settings.policies == Policies.parse("UNLIKE_TRAINING=flag")


@pytest.mark.parametrize(
    "text",
    [
        'gate_policy = "NOT_CHEST=flag,AGE_OUT_OF_RANGE=accept"',
        '[gate_policy]\nNOT_CHEST = "flag"\nAGE_OUT_OF_RANGE = "accept"',
    ],
)
def test_the_file_of_settings_holds_the_policies_as_text_or_as_a_table(text, tmp_path, monkeypatch):
    (tmp_path / "auscult.toml").write_text(text)
    settings = load_settings(home=tmp_path)
    assert settings.policies == Policies.parse("NOT_CHEST=flag,AGE_OUT_OF_RANGE=accept")
    monkeypatch.setenv("AUSCULT_GATE_POLICY", "NOT_CHEST=refuse")
    assert load_settings(home=tmp_path).policies == Policies.parse("NOT_CHEST=refuse")


def test_a_child_process_gets_the_policies_of_its_parent(tmp_path, monkeypatch):
    settings = load_settings(home=tmp_path, gate_policy="NOT_CHEST=flag")
    for name, value in child_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings().policies == settings.policies


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("NOT_CHEST=maybe", "setting gate_policy: maybe is not a policy for NOT_CHEST: write refuse, flag or accept"),
        (
            "NO_PIXEL_DATA=accept",
            "setting gate_policy: the policy of NO_PIXEL_DATA cannot be changed: without it there is no film to judge",
        ),
        ("CHEST=flag", "setting gate_policy: CHEST is not a rule of the gate: see the table in CONFORMANCE.md"),
    ],
)
def test_a_policy_that_means_nothing_stops_the_start_with_a_sentence(value, sentence, tmp_path):
    with pytest.raises(SettingsError) as caught:
        load_settings(home=tmp_path, gate_policy=value)
    assert str(caught.value) == sentence


def test_a_malformed_table_of_policies_stops_the_start_with_a_sentence(tmp_path):
    (tmp_path / "auscult.toml").write_text("[gate_policy]\nNOT_CHEST = 3\n")
    with pytest.raises(SettingsError, match="3 is not a policy for NOT_CHEST"):
        load_settings(home=tmp_path)


@pytest.mark.parametrize("age_months", [None, 12, 36, 600])
@pytest.mark.parametrize("body_part", ["CHEST", "HAND", ""])
@pytest.mark.parametrize("policies", ["", "NOT_CHEST=flag,AGE_OUT_OF_RANGE=accept", "AGE_UNKNOWN=refuse"])
def test_the_rules_by_themselves_give_the_verdict(age_months: int | None, body_part: str, policies: str) -> None:
    chosen = Policies.parse(policies)
    given = GateInput(dataclasses.replace(CHEST, age_months=age_months, body_part=body_part), AgeRange(1, 5))
    said = [rule for rule in each_rule(given, chosen) if rule.applies]
    refused = next((rule.reason for rule in said if rule.policy == "refuse"), None)
    verdict = judge(given, RuleStage.HEADER, chosen)
    assert verdict.reason == refused
    if refused is None:
        assert verdict.flags == tuple(rule.reason for rule in said if rule.policy == "flag")


def test_a_rule_whose_input_is_not_known_says_nothing() -> None:
    said = each_rule(GateInput(CHEST, AgeRange(1, 5)))
    assert {rule.applies for rule in said if rule.stage is not RuleStage.HEADER} == {None}
    out_of_scope = each_rule(GateInput(CHEST, AgeRange(1, 5), unlikeness=2.0))
    assert [rule.reason for rule in out_of_scope if rule.applies] == [Reason.UNLIKE_TRAINING]
