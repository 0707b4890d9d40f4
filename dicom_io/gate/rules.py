"""Step 5 of the flow: the rules of the gate, as one table.

Each rule is a named predicate on what is known about a film at its stage: the header before any pixel is decoded, the
picture after it is decoded, and the network's own doubt at the end. The rules are asked in the order of the table. The
policy of a rule decides what happens to a film that it applies to: it is refused, judged with a flag, or judged like
any other film. A site may change every policy except those of rules without which there is no film to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_io.header.evidence import Derivation, Species
from dicom_io.header.terms import Region, View, region_of_body_part, view_of_words
from dicom_io.limits import MIN_SIDE_PX
from dicom_io.pixels.syntaxes import is_decodable
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicom_io.gate.picture_statistics import PictureStatistics
    from dicom_io.header.facts import GateFacts

__all__ = ["RULES", "UNLIKE_ABOVE", "AgeRange", "GateInput", "Policy", "Rule", "RuleStage"]

#: The largest unlikeness of a film that is in the scope of the network.
UNLIKE_ABOVE = 1.0

_RADIOGRAPH_MODALITIES = frozenset({"CR", "DX", "RG"})
_CR_CLASS = "1.2.840.10008.5.1.4.1.1.1"
_DX_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"
_DX_PROCESSING_CLASS = "1.2.840.10008.5.1.4.1.1.1.1.1"
_RADIOGRAPH_CLASSES = frozenset({_CR_CLASS, _DX_CLASS, _DX_PROCESSING_CLASS})
# Films of public challenges, digitised films and exports are Secondary Captures; only their modality identifies them.
_CAPTURE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
        "1.2.840.10008.5.1.4.1.1.7.4",
    }
)


class Policy(StrEnum):
    """What happens to a film that a rule applies to."""

    #: The film is not judged, and the code of the rule is the reason.
    REFUSE = "refuse"
    #: The film is judged, and its answer carries the code of the rule as a flag.
    FLAG = "flag"
    #: The film is judged like any other.
    ACCEPT = "accept"


class RuleStage(StrEnum):
    """When a rule is asked: what must be known about the film."""

    HEADER = "header"
    PICTURE = "picture"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class AgeRange:
    """The ages that a model was made for.

    Attributes
    ----------
    min_years, max_years : int
        Completed years, both inclusive: 1 to 5 includes a child until the day before its sixth birthday.
    """

    min_years: int
    max_years: int

    def __contains__(self, months: int) -> bool:
        return self.min_years <= months // 12 <= self.max_years


@dataclass(frozen=True, slots=True)
class GateInput:
    """What is known about a film when a rule is asked.

    Attributes
    ----------
    facts : GateFacts
        The facts of the header (or the larger ``Facts``).
    ages : AgeRange
        The ages of the model.
    statistics : PictureStatistics or None
        Of the decoded film; None before it is decoded.
    unlikeness : float or None
        The network's measure of how unlike the training films the film is, 0 and more; above ``UNLIKE_ABOVE`` the film
        is out of its scope. None before the network was asked, and for a model without this measure.
    """

    facts: GateFacts
    ages: AgeRange
    statistics: PictureStatistics | None = None
    unlikeness: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the gate.

    Attributes
    ----------
    reason : Reason
        The name of the rule: the reason of a film that it refuses, or a flag of one that is judged.
    stage : RuleStage
        When it is asked.
    applies : callable
        The predicate: whether the rule applies to the film.
    reads : str
        The elements or measures that it reads, for the documentation.
    policy : Policy
        The default of the rule, where the site sets no policy.
    is_changeable : bool
        Whether a site may set another policy.
    """

    reason: Reason
    stage: RuleStage
    applies: Callable[[GateInput], bool]
    reads: str
    policy: Policy = Policy.REFUSE
    is_changeable: bool = True


def _is_not_radiograph(given: GateInput) -> bool:
    """Whether the object is neither a CR or DX image nor a capture with such a modality."""
    facts = given.facts
    if facts.sop_class_uid in _RADIOGRAPH_CLASSES:
        return facts.modality not in _RADIOGRAPH_MODALITIES | {""}
    return facts.sop_class_uid not in _CAPTURE_CLASSES or facts.modality not in _RADIOGRAPH_MODALITIES


def _is_for_processing(given: GateInput) -> bool:
    facts = given.facts
    return facts.sop_class_uid == _DX_PROCESSING_CLASS or facts.presentation_intent == "FOR PROCESSING"


def _is_not_chest(given: GateInput) -> bool:
    return region_of_body_part(given.facts.body_part) is Region.OTHER


def _is_unknown_part(given: GateInput) -> bool:
    return region_of_body_part(given.facts.body_part) is Region.UNKNOWN


def _is_lateral(given: GateInput) -> bool:
    return view_of_words(given.facts.view_position) is View.LATERAL


def _is_unknown_view(given: GateInput) -> bool:
    return view_of_words(given.facts.view_position) is View.UNKNOWN


def _is_out_of_age_range(given: GateInput) -> bool:
    return given.facts.age_months is not None and given.facts.age_months not in given.ages


def _is_too_small(given: GateInput) -> bool:
    # an unknown size is left to the decoder
    return 0 < min(given.facts.rows, given.facts.columns) < MIN_SIDE_PX


def _is_constant(given: GateInput) -> bool:
    return given.statistics is not None and given.statistics.is_constant


def _is_test_pattern(given: GateInput) -> bool:
    return given.statistics is not None and given.statistics.is_test_pattern


def _is_inverted(given: GateInput) -> bool:
    statistics = given.statistics
    return statistics is not None and statistics.is_inverted(tags_contradict=given.facts.polarity_in_doubt)


def _is_unlike_training(given: GateInput) -> bool:
    return given.unlikeness is not None and given.unlikeness > UNLIKE_ABOVE


#: The rules, in the order in which they are asked; CONFORMANCE.md has the same table.
RULES: tuple[Rule, ...] = (
    Rule(
        Reason.NOT_A_RADIOGRAPH,
        RuleStage.HEADER,
        _is_not_radiograph,
        "SOP Class UID (0008,0016), Modality (0008,0060)",
        is_changeable=False,
    ),
    Rule(
        Reason.NOT_HUMAN,
        RuleStage.HEADER,
        lambda given: given.facts.species == Species.ANIMAL,
        "Patient Species (0010,2201), (0010,2202); else Breed (0010,2292) to (0010,2294), Sex Neutered (0010,2203), "
        "Responsible Person Role OWNER (0010,2298)",
    ),
    Rule(
        Reason.TEST_PATTERN,
        RuleStage.HEADER,
        lambda given: given.facts.is_test_object,
        "Quality Control Image (0028,0300) or Subject (0010,0200); words in body part, descriptions and patient's name",
    ),
    Rule(
        Reason.FOR_PROCESSING,
        RuleStage.HEADER,
        _is_for_processing,
        "SOP Class UID (0008,0016), Presentation Intent Type (0008,0068)",
    ),
    Rule(
        Reason.DERIVED_OBJECT,
        RuleStage.HEADER,
        lambda given: given.facts.derivation != Derivation.NONE,
        "Image Type (0008,0008) from value 3, Derivation (0008,2111), (0008,9215), Conversion Type (0008,0064), "
        "Source Image of a capture (0008,2112), Series Description (0008,103E), Protocol Name (0018,1030)",
    ),
    Rule(
        Reason.NOT_CHEST,
        RuleStage.HEADER,
        _is_not_chest,
        "Body Part Examined (0018,0015); else Anatomic Region (0008,2218); else descriptions",
    ),
    Rule(Reason.BODY_PART_UNKNOWN, RuleStage.HEADER, _is_unknown_part, "the same", Policy.FLAG),
    Rule(
        Reason.LATERAL_VIEW,
        RuleStage.HEADER,
        _is_lateral,
        "View Position (0018,5101); else View Code (0054,0220); else Patient Orientation (0020,0020); else descriptions; "
        "else Body Part Examined (0018,0015)",
    ),
    Rule(Reason.VIEW_UNKNOWN, RuleStage.HEADER, _is_unknown_view, "the same", Policy.FLAG),
    Rule(
        Reason.AGE_OUT_OF_RANGE,
        RuleStage.HEADER,
        _is_out_of_age_range,
        "Patient's Age (0010,1010) other than 0; else Birth Date (0010,0030) and the film's dates; else an age of 0",
    ),
    Rule(
        Reason.AGE_UNKNOWN,
        RuleStage.HEADER,
        lambda given: given.facts.age_months is None,
        "the same",
        Policy.FLAG,
    ),
    Rule(
        Reason.BURNED_IN_ANNOTATION,
        RuleStage.HEADER,
        lambda given: given.facts.burned_in_annotation,
        "Burned In Annotation (0028,0301)",
        Policy.FLAG,
    ),
    Rule(
        Reason.NO_PIXEL_DATA,
        RuleStage.HEADER,
        lambda given: not given.facts.has_pixel_data,
        "Pixel Data (7FE0,0010)",
        is_changeable=False,
    ),
    Rule(
        Reason.MULTI_FRAME,
        RuleStage.HEADER,
        lambda given: given.facts.number_of_frames > 1,
        "Number of Frames (0028,0008)",
        is_changeable=False,
    ),
    Rule(
        Reason.UNSUPPORTED_TRANSFER_SYNTAX,
        RuleStage.HEADER,
        lambda given: not is_decodable(given.facts.transfer_syntax_uid),
        "Transfer Syntax UID (0002,0010)",
        is_changeable=False,
    ),
    Rule(
        Reason.TOO_SMALL,
        RuleStage.HEADER,
        _is_too_small,
        "Rows (0028,0010), Columns (0028,0011); again when decoded",
        is_changeable=False,
    ),
    Rule(
        Reason.CONSTANT_PICTURE,
        RuleStage.PICTURE,
        _is_constant,
        "the film: all but a hundredth of its pixels at either end within 32 greys",
        is_changeable=False,
    ),
    Rule(
        Reason.TEST_PATTERN,
        RuleStage.PICTURE,
        _is_test_pattern,
        "the film: few greys, grain without shapes, ramps, two tones, blobs or grids",
    ),
    Rule(
        Reason.INVERTED_PICTURE,
        RuleStage.PICTURE,
        _is_inverted,
        "the film, against the mean chest; Photometric Interpretation (0028,0004) against Pixel Intensity Relationship "
        "Sign (0028,1041) and Presentation LUT Shape (2050,0020)",
    ),
    Rule(
        Reason.UNLIKE_TRAINING,
        RuleStage.NETWORK,
        _is_unlike_training,
        "the network's own measure, where the model has one",
    ),
)
