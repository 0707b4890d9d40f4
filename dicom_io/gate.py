"""Step 5 of the flow: may the model judge this film? Decided from the header alone, before any pixel is decoded.

The rules stand in one table, each a named predicate, and are asked in its order; the first that holds is the reason.
What the header does not tell is no reason to refuse: the film is judged and the answer is flagged. After decoding, the
film itself can still be refused (see ``film``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.facts import GateFacts
from dicom_io.limits import MIN_SIDE_PX
from dicom_io.reasons import Flag, Reason
from dicom_io.syntaxes import is_decodable
from dicom_io.terms import Region, View, region_of_body_part, view_of_words

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AgeRange", "GateFacts", "Verdict", "judge"]


_RADIOGRAPH_MODALITIES = frozenset({"CR", "DX", "RG"})
_CR_CLASS = "1.2.840.10008.5.1.4.1.1.1"
_DX_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"
_DX_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.1.1"
_RADIOGRAPH_CLASSES = frozenset({_CR_CLASS, _DX_CLASS, _DX_PROCESSING_CLASS})
# Public challenge films, digitised films and exports are Secondary Captures whose modality alone tells what they are.
_CAPTURE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
        "1.2.840.10008.5.1.4.1.1.7.4",
    }
)


@dataclass(frozen=True, slots=True)
class AgeRange:
    """The ages a model was made for.

    Attributes
    ----------
    min_years, max_years : int
        Completed years, both inclusive: 1 to 5 holds a child until the day before the sixth birthday.
    """

    min_years: int
    max_years: int

    def __contains__(self, months: int) -> bool:
        return self.min_years <= months // 12 <= self.max_years


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says.

    Attributes
    ----------
    reason : Reason or None
        Why the film may not be judged; None when it may.
    flags : tuple of Flag
        What the header left open; empty when the film is refused.
    """

    reason: Reason | None
    flags: tuple[Flag, ...] = ()


def judge(facts: GateFacts, ages: AgeRange) -> Verdict:
    """Ask the rules in order.

    Parameters
    ----------
    facts : GateFacts
        The facts of the header (``Facts`` will do).
    ages : AgeRange
        The model's ages.

    Returns
    -------
    Verdict
        The first reason against the film, else the flags its answer must carry.
    """
    for reason, applies in _RULES:
        if applies(facts, ages):
            return Verdict(reason)
    return Verdict(None, tuple(flag for flag, applies in _FLAGS if applies(facts)))


def _is_no_radiograph(facts: GateFacts, _ages: AgeRange) -> bool:
    """Neither a CR or DX object nor a capture that says it is one."""
    if facts.sop_class_uid in _RADIOGRAPH_CLASSES:
        return facts.modality not in _RADIOGRAPH_MODALITIES | {""}
    return facts.sop_class_uid not in _CAPTURE_CLASSES or facts.modality not in _RADIOGRAPH_MODALITIES


def _is_for_processing(facts: GateFacts, _ages: AgeRange) -> bool:
    return facts.sop_class_uid == _DX_PROCESSING_CLASS or facts.presentation_intent == "FOR PROCESSING"


def _is_not_chest(facts: GateFacts, _ages: AgeRange) -> bool:
    return region_of_body_part(facts.body_part) is Region.OTHER


def _is_lateral(facts: GateFacts, _ages: AgeRange) -> bool:
    return view_of_words(facts.view_position) is View.LATERAL


def _is_out_of_age(facts: GateFacts, ages: AgeRange) -> bool:
    return facts.age_months is not None and facts.age_months not in ages


def _has_no_pixels(facts: GateFacts, _ages: AgeRange) -> bool:
    return not facts.has_pixel_data


def _has_many_frames(facts: GateFacts, _ages: AgeRange) -> bool:
    return facts.number_of_frames > 1


def _has_unsupported_coding(facts: GateFacts, _ages: AgeRange) -> bool:
    return not is_decodable(facts.transfer_syntax_uid)


def _is_too_small(facts: GateFacts, _ages: AgeRange) -> bool:
    # an unknown size is left to the decoder, which knows the picture
    return 0 < min(facts.rows, facts.columns) < MIN_SIDE_PX


_RULES: tuple[tuple[Reason, Callable[[GateFacts, AgeRange], bool]], ...] = (
    (Reason.NOT_A_RADIOGRAPH, _is_no_radiograph),
    (Reason.FOR_PROCESSING, _is_for_processing),
    (Reason.NOT_CHEST, _is_not_chest),
    (Reason.LATERAL_VIEW, _is_lateral),
    (Reason.AGE_OUT_OF_RANGE, _is_out_of_age),
    (Reason.NO_PIXEL_DATA, _has_no_pixels),
    (Reason.MULTI_FRAME, _has_many_frames),
    (Reason.UNSUPPORTED_TRANSFER_SYNTAX, _has_unsupported_coding),
    (Reason.TOO_SMALL, _is_too_small),
)

_FLAGS: tuple[tuple[Flag, Callable[[GateFacts], bool]], ...] = (
    (Flag.AGE_UNKNOWN, lambda facts: facts.age_months is None),
    (Flag.BODY_PART_UNKNOWN, lambda facts: region_of_body_part(facts.body_part) is Region.UNKNOWN),
    (Flag.VIEW_UNKNOWN, lambda facts: view_of_words(facts.view_position) is View.UNKNOWN),
)
