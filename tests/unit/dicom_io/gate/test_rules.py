"""The gate: each rule of the header with its code, the order of the rules, and their flags."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from dicom_io.gate.judge import AgeRange, GateInput, Policies, RuleStage, Verdict, judge
from dicom_io.gate.rules import RULES, Policy
from dicom_io.header.evidence import Derivation
from dicom_io.header.facts import Facts, GateFacts
from dicom_io.header.terms import Region, region_of_body_part, view_of_words
from dicom_io.reasons import Outcome, Reason

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
DX_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CHILDREN = AgeRange(1, 5)
GOOD = GateFacts(
    sop_class_uid=DX,
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    modality="DX",
    body_part="CHEST",
    view_position="AP",
    age_months=36,
    rows=2000,
    columns=1800,
    presentation_intent="FOR PRESENTATION",
)


def verdict_on(facts: GateFacts = GOOD, policies: str = "", **changes: Any) -> Verdict:
    return judge(GateInput(dataclasses.replace(facts, **changes), CHILDREN), RuleStage.HEADER, Policies.parse(policies))


def judged(**changes: Any) -> Reason | None:
    return verdict_on(**changes).reason


def test_a_frontal_chest_of_the_models_age_passes_without_a_flag() -> None:
    verdict = verdict_on()
    assert verdict.reason is None
    assert verdict.flags == ()


def test_the_facts_of_a_whole_header_may_be_judged() -> None:
    facts = Facts(**dataclasses.asdict(GOOD), patient_id="P1")
    assert verdict_on(facts).reason is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sop_class_uid": CR, "modality": "CR"},
        {"sop_class_uid": CR, "modality": "RG"},
        {"sop_class_uid": CR, "modality": ""},
        {"sop_class_uid": DX, "modality": ""},
        {"sop_class_uid": CAPTURE, "modality": "CR"},
        {"sop_class_uid": CAPTURE, "modality": "DX"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7.2", "modality": "RG"},
    ],
)
def test_a_radiograph_is_one_by_its_class_or_as_a_capture_by_its_modality(changes: dict[str, str]) -> None:
    assert judged(**changes) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "modality": "CT"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4", "modality": "MR"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.11", "modality": "SR"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.11.1", "modality": "PR"},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.2", "modality": "MG"},
        {"sop_class_uid": CAPTURE, "modality": "OT"},
        {"sop_class_uid": CAPTURE, "modality": ""},
        {"sop_class_uid": CR, "modality": "CT"},
        {"sop_class_uid": "", "modality": "CR"},
    ],
)
def test_any_other_object_is_not_a_radiograph(changes: dict[str, str]) -> None:
    assert judged(**changes) is Reason.NOT_A_RADIOGRAPH


@pytest.mark.parametrize("changes", [{"sop_class_uid": DX_PROCESSING}, {"presentation_intent": "FOR PROCESSING"}])
def test_raw_detector_data_are_refused(changes: dict[str, str]) -> None:
    assert judged(**changes) is Reason.FOR_PROCESSING


@pytest.mark.parametrize(
    "words",
    [
        *("CHEST", "chest", "NON GRID CHEST", "PORTABLE CHEST", "CHEST_AP", "CHEST-PA", "CHEST1", "CHST", "CXR"),
        *("THORAX", "Tórax", "TORACE", "LUNG", "LUNGS", "POUMON", "PULMÕES", "Göğüs", "KLATKA PIERSIOWA", "HRUDNÍK"),
        *(
            "胸部",
            "흉부",
            "ОРГАНЫ ГРУДНОЙ КЛЕТКИ",
            "Θώρακας",
            "صدر",
            "Thoraxorgane",
            "Thorax-Übersicht",
            "Lungenübersicht",
        ),
    ],
)
def test_a_chest_is_one_in_any_language(words: str) -> None:
    assert judged(body_part=words) is None


@pytest.mark.parametrize(
    "words",
    [
        *(
            "EXTREMITY",
            "EXTREMETY",
            "HIP",
            "CSPINE",
            "THORACIC SPINE",
            "TSPINE",
            "CHESTABDPELVIS",
            "CHEST ABDOMEN",
            "RIBS",
        ),
        *("HAND", "ABDOMEN", "OTHER", "Колено", "膝", "BRUST", "FACE", "KNEELAT"),
        *("胸椎", "胸骨", "Грудной отдел позвоночника"),
    ],
)
def test_any_other_part_is_not_chest(words: str) -> None:
    assert judged(body_part=words) is Reason.NOT_CHEST


@pytest.mark.parametrize(
    "words", ["", "  ", "UNKNOWN", "n/a", "-", "?", "NOT SPECIFIED", "Not applicable", "ZZZ", "CHESTNUT"]
)
def test_an_unknown_body_part_is_judged_and_flagged(words: str) -> None:
    verdict = verdict_on(body_part=words)
    assert (verdict.reason, verdict.flags) == (None, (Reason.BODY_PART_UNKNOWN,))


@pytest.mark.parametrize(
    "view",
    [
        *(
            "LL",
            "RL",
            "LAT",
            "LATERAL",
            "LARGE LATERAL",
            "LEFT LATERAL",
            "lateral",
            "LLAT",
            "SEITLICH",
            "PROFIL",
            "PERFIL",
        ),
        *("RAO", "LAO", "LPO", "OBLIQUE", "seitl.", "Lateraal", "boczne"),
    ],
)
def test_a_lateral_or_oblique_view_is_refused(view: str) -> None:
    assert judged(view_position=view) is Reason.LATERAL_VIEW


@pytest.mark.parametrize(
    "view", ["AP", "PA", "ap", "AP SUPINE", "PA ERECT", "FRONTAL", "p.a.", "A-P", "antero-posterior"]
)
def test_a_frontal_view_passes_without_a_flag(view: str) -> None:
    verdict = verdict_on(view_position=view)
    assert (verdict.reason, verdict.flags) == (None, ())


@pytest.mark.parametrize(
    "view", ["", "XX", "LLD", "LEFT LATERAL DECUBITUS", "PA LATERAL", "FRONTAL LATERAL", "p.a./lat."]
)
def test_an_unknown_view_is_judged_and_flagged(view: str) -> None:
    verdict = verdict_on(view_position=view)
    assert (verdict.reason, verdict.flags) == (None, (Reason.VIEW_UNKNOWN,))


@pytest.mark.parametrize("months", [12, 36, 71])
def test_an_age_within_the_range_passes_to_the_day_before_the_birthday(months: int) -> None:
    assert judged(age_months=months) is None


@pytest.mark.parametrize("months", [0, 11, 72, 540])
def test_an_age_outside_the_range_is_refused(months: int) -> None:
    assert judged(age_months=months) is Reason.AGE_OUT_OF_RANGE


def test_an_unknown_age_is_judged_and_flagged() -> None:
    verdict = verdict_on(age_months=None)
    assert (verdict.reason, verdict.flags) == (None, (Reason.AGE_UNKNOWN,))


def test_all_that_is_unknown_is_flagged() -> None:
    verdict = verdict_on(age_months=None, body_part="", view_position="")
    assert verdict.flags == (Reason.BODY_PART_UNKNOWN, Reason.VIEW_UNKNOWN, Reason.AGE_UNKNOWN)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"species": "ANIMAL"}, Reason.NOT_HUMAN),
        ({"is_test_object": True}, Reason.TEST_PATTERN),
        *(({"derivation": str(found)}, Reason.DERIVED_OBJECT) for found in Derivation if found),
    ],
)
def test_objects_that_are_not_films_of_a_person_are_refused(changes: dict[str, Any], reason: Reason) -> None:
    assert judged(**changes) is reason


@pytest.mark.parametrize("species", ["HUMAN", ""])
def test_a_human_or_unnamed_species_passes_without_a_flag(species: str) -> None:
    assert verdict_on(species=species) == Verdict(None)


def test_text_that_is_burnt_in_is_a_flag_for_every_digitised_film_has_some() -> None:
    assert verdict_on(burned_in_annotation=True) == Verdict(None, (Reason.BURNED_IN_ANNOTATION,))


def test_a_doubtful_polarity_alone_is_nothing_for_real_films_have_it() -> None:
    assert verdict_on(polarity_in_doubt=True) == Verdict(None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"has_pixel_data": False}, Reason.NO_PIXEL_DATA),
        ({"number_of_frames": 2}, Reason.MULTI_FRAME),
        ({"transfer_syntax_uid": "1.2.840.10008.1.2.4.110"}, Reason.UNSUPPORTED_TRANSFER_SYNTAX),
        ({"transfer_syntax_uid": "1.2.840.10008.1.2.4.53"}, Reason.UNSUPPORTED_TRANSFER_SYNTAX),
        ({"transfer_syntax_uid": "1.2.840.10008.1.2.4.102"}, Reason.UNSUPPORTED_TRANSFER_SYNTAX),
        ({"rows": 127}, Reason.TOO_SMALL),
        ({"columns": 16}, Reason.TOO_SMALL),
    ],
)
def test_what_cannot_be_decoded_to_a_film_is_refused_by_name(changes: dict[str, Any], reason: Reason) -> None:
    assert judged(**changes) is reason


@pytest.mark.parametrize("changes", [{"rows": 128, "columns": 128}, {"rows": 0, "columns": 0}])
def test_a_size_that_may_do_is_left_to_the_decoder(changes: dict[str, int]) -> None:
    assert judged(**changes) is None


def test_the_rules_are_asked_in_order() -> None:
    worst = GateFacts(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.3",
        body_part="HIP",
        view_position="LL",
        age_months=600,
        rows=5,
        columns=5,
        presentation_intent="FOR PROCESSING",
        number_of_frames=9,
        has_pixel_data=False,
        species="ANIMAL",
        derivation="BONE",
        is_test_object=True,
    )
    repairs: list[tuple[Reason, dict[str, Any]]] = [
        (Reason.NOT_A_RADIOGRAPH, {"sop_class_uid": DX}),
        (Reason.NOT_HUMAN, {"species": ""}),
        (Reason.TEST_PATTERN, {"is_test_object": False}),
        (Reason.FOR_PROCESSING, {"presentation_intent": ""}),
        (Reason.DERIVED_OBJECT, {"derivation": ""}),
        (Reason.NOT_CHEST, {"body_part": "CHEST"}),
        (Reason.LATERAL_VIEW, {"view_position": "PA"}),
        (Reason.AGE_OUT_OF_RANGE, {"age_months": 24}),
        (Reason.NO_PIXEL_DATA, {"has_pixel_data": True}),
        (Reason.MULTI_FRAME, {"number_of_frames": 1}),
        (Reason.UNSUPPORTED_TRANSFER_SYNTAX, {"transfer_syntax_uid": "1.2.840.10008.1.2"}),
        (Reason.TOO_SMALL, {"rows": 500, "columns": 500}),
    ]
    facts = worst
    for reason, repair in repairs:
        verdict = verdict_on(facts)
        assert (verdict.reason, verdict.flags) == (reason, ())
        facts = dataclasses.replace(facts, **repair)
    assert verdict_on(facts).reason is None


def test_every_refusal_of_the_gate_is_an_outcome_without_an_answer() -> None:
    assert all(r.outcome in (Outcome.NOT_APPLICABLE, Outcome.BAD_INPUT) for r in Reason if r.outcome and r.telling < 70)


@pytest.mark.parametrize("word", ["CHEST", "LATERAL", "FRONTAL", "OTHER", ""])
def test_what_the_header_reader_writes_in_place_of_a_value_means_the_same_to_the_gate(word: str) -> None:
    # body_part and view_position hold either the header's own word or one of ours
    assert str(region_of_body_part(word)) == (word if word in ("CHEST", "OTHER") else Region.UNKNOWN)
    assert str(view_of_words(word)) == (word if word in ("LATERAL", "FRONTAL", "") else "")


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.is_changeable and rule.stage is RuleStage.HEADER])
def test_the_site_decides_what_becomes_of_a_film_that_a_rule_speaks_against(rule) -> None:
    changes = AGAINST[rule.reason]
    assert verdict_on(**changes, policies=f"{rule.reason}=refuse") == Verdict(rule.reason)
    assert verdict_on(**changes, policies=f"{rule.reason}=flag") == Verdict(None, (rule.reason,))
    assert verdict_on(**changes, policies=f"{rule.reason}=accept") == Verdict(None)


AGAINST: dict[Reason, dict[str, Any]] = {
    Reason.NOT_HUMAN: {"species": "ANIMAL"},
    Reason.TEST_PATTERN: {"is_test_object": True},
    Reason.FOR_PROCESSING: {"presentation_intent": "FOR PROCESSING"},
    Reason.DERIVED_OBJECT: {"derivation": "BONE"},
    Reason.NOT_CHEST: {"body_part": "HAND"},
    Reason.BODY_PART_UNKNOWN: {"body_part": ""},
    Reason.LATERAL_VIEW: {"view_position": "LL"},
    Reason.VIEW_UNKNOWN: {"view_position": ""},
    Reason.AGE_OUT_OF_RANGE: {"age_months": 600},
    Reason.AGE_UNKNOWN: {"age_months": None},
    Reason.BURNED_IN_ANNOTATION: {"burned_in_annotation": True},
}


def test_a_film_that_is_flagged_for_several_rules_carries_all_and_one_that_is_refused_the_first() -> None:
    worst: dict[str, Any] = {"body_part": "HAND", "view_position": "LL", "age_months": 600}
    flags = (Reason.NOT_CHEST, Reason.LATERAL_VIEW, Reason.AGE_OUT_OF_RANGE)
    assert verdict_on(**worst, policies=",".join(f"{flag}=flag" for flag in flags)) == Verdict(None, flags)
    assert verdict_on(**worst, policies="NOT_CHEST=flag, AGE_OUT_OF_RANGE=accept") == Verdict(Reason.LATERAL_VIEW)


def test_policies_are_read_in_any_case_and_spacing() -> None:
    policies = Policies.parse(" age_out_of_range = FLAG ,, BURNED_IN_ANNOTATION=accept, ")
    assert policies.of(Reason.AGE_OUT_OF_RANGE) is Policy.FLAG
    assert policies.of(Reason.BURNED_IN_ANNOTATION) is Policy.ACCEPT
    assert policies.of(Reason.NOT_CHEST) is Policy.REFUSE
    assert policies.of(Reason.VIEW_UNKNOWN) is Policy.FLAG


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("NOT_A_CHEST=flag", "NOT_A_CHEST is not a rule of the gate: see the table in CONFORMANCE.md"),
        ("WORKER_LOST=flag", "WORKER_LOST is not a rule of the gate: see the table in CONFORMANCE.md"),
        ("NOT_CHEST=maybe", "maybe is not a policy for NOT_CHEST: write refuse, flag or accept"),
        ("NOT_CHEST=", "nothing is not a policy for NOT_CHEST: write refuse, flag or accept"),
        ("NOT_CHEST", "NOT_CHEST is not a policy: write the reason, '=' and refuse, flag or accept"),
        ("NOT_CHEST=flag,NOT_CHEST=refuse", "NOT_CHEST is named twice"),
        *(
            (
                f"{rule.reason}=accept",
                f"the policy of {rule.reason} cannot be changed: without it there is no film to judge",
            )
            for rule in RULES
            if not rule.is_changeable
        ),
    ],
)
def test_a_policy_that_means_nothing_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Policies.parse(text)


def test_a_rule_of_two_stages_has_one_policy() -> None:
    of_reason: dict[Reason, set[tuple[Policy, bool]]] = {}
    for rule in RULES:
        of_reason.setdefault(rule.reason, set()).add((rule.policy, rule.is_changeable))
    assert all(len(found) == 1 for found in of_reason.values())
