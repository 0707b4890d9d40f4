"""Step 5 of the flow: the rules of the gate, as one table.

Each rule is a named predicate on what is known of a film at its stage: the header before any pixel is decoded, the
picture once it is decoded, the network's own doubt at the end. They are asked in the table's order. What a film whose
header speaks against it, or says nothing, meets with is the policy of the rule: refused, judged with a flag, or judged
as any other. A site may change the policy of every rule but those without which there is no film to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_io.evidence import Derivation, Species
from dicom_io.limits import MIN_SIDE_PX
from dicom_io.reasons import Reason
from dicom_io.syntaxes import is_decodable
from dicom_io.terms import Region, View, region_of_body_part, view_of_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicom_io.facts import GateFacts
    from dicom_io.picture import Look

__all__ = ["RULES", "UNLIKE_ABOVE", "AgeRange", "Policy", "Rule", "Stage", "Subject"]

#: Unlikeness of the last film that is in the network's scope.
UNLIKE_ABOVE = 1.0

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


class Policy(StrEnum):
    """What becomes of a film that a rule speaks against."""

    #: It is not judged, and the rule's code is the reason.
    REFUSE = "refuse"
    #: It is judged, and the answer carries the rule's code as a flag.
    FLAG = "flag"
    #: It is judged as any other.
    ACCEPT = "accept"


class Stage(StrEnum):
    """When a rule is asked."""

    HEADER = "header"
    PICTURE = "picture"
    NETWORK = "network"


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
class Subject:
    """What is known of a film when a rule is asked.

    Attributes
    ----------
    facts : GateFacts
        The facts of the header (``Facts`` will do).
    ages : AgeRange
        The model's ages.
    look : Look or None
        What the decoded film looks like; None before it is decoded.
    unlikeness : float or None
        How unlike the training films the network finds the film; above ``UNLIKE_ABOVE`` is out of its scope. None
        before it was asked, and where it cannot tell.
    """

    facts: GateFacts
    ages: AgeRange
    look: Look | None = None
    unlikeness: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the gate.

    Attributes
    ----------
    reason : Reason
        The rule's name: the reason of a film it refuses, and the flag of one it lets through.
    stage : Stage
        When it is asked.
    applies : callable
        The predicate: whether the rule speaks against the film.
    reads : str
        What it looks at, for the documentation.
    policy : Policy
        What becomes of such a film where the site says nothing.
    is_changeable : bool
        Whether a site may say otherwise.
    """

    reason: Reason
    stage: Stage
    applies: Callable[[Subject], bool]
    reads: str
    policy: Policy = Policy.REFUSE
    is_changeable: bool = True


def _is_no_radiograph(subject: Subject) -> bool:
    """Neither a CR or DX object nor a capture that says it is one."""
    facts = subject.facts
    if facts.sop_class_uid in _RADIOGRAPH_CLASSES:
        return facts.modality not in _RADIOGRAPH_MODALITIES | {""}
    return facts.sop_class_uid not in _CAPTURE_CLASSES or facts.modality not in _RADIOGRAPH_MODALITIES


def _is_for_processing(subject: Subject) -> bool:
    facts = subject.facts
    return facts.sop_class_uid == _DX_PROCESSING_CLASS or facts.presentation_intent == "FOR PROCESSING"


def _is_not_chest(subject: Subject) -> bool:
    return region_of_body_part(subject.facts.body_part) is Region.OTHER


def _is_of_no_known_part(subject: Subject) -> bool:
    return region_of_body_part(subject.facts.body_part) is Region.UNKNOWN


def _is_lateral(subject: Subject) -> bool:
    return view_of_words(subject.facts.view_position) is View.LATERAL


def _is_of_no_known_view(subject: Subject) -> bool:
    return view_of_words(subject.facts.view_position) is View.UNKNOWN


def _is_out_of_age(subject: Subject) -> bool:
    return subject.facts.age_months is not None and subject.facts.age_months not in subject.ages


def _is_too_small(subject: Subject) -> bool:
    # an unknown size is left to the decoder, which knows the picture
    return 0 < min(subject.facts.rows, subject.facts.columns) < MIN_SIDE_PX


def _is_constant(subject: Subject) -> bool:
    return subject.look is not None and subject.look.is_constant


def _is_test_pattern(subject: Subject) -> bool:
    return subject.look is not None and subject.look.is_test_pattern


def _is_inverted(subject: Subject) -> bool:
    look = subject.look
    return look is not None and look.is_inverted(tags_contradict=subject.facts.polarity_in_doubt)


def _is_unlike(subject: Subject) -> bool:
    return subject.unlikeness is not None and subject.unlikeness > UNLIKE_ABOVE


#: The rules, in the order in which they are asked; CONFORMANCE.md holds the same table.
RULES: tuple[Rule, ...] = (
    Rule(
        Reason.NOT_A_RADIOGRAPH,
        Stage.HEADER,
        _is_no_radiograph,
        "SOP Class UID (0008,0016), Modality (0008,0060)",
        is_changeable=False,
    ),
    Rule(
        Reason.NOT_HUMAN,
        Stage.HEADER,
        lambda subject: subject.facts.species == Species.ANIMAL,
        "Patient Species (0010,2201), (0010,2202); else Breed (0010,2292) to (0010,2294), Sex Neutered (0010,2203), "
        "Responsible Person Role OWNER (0010,2298)",
    ),
    Rule(
        Reason.TEST_PATTERN,
        Stage.HEADER,
        lambda subject: subject.facts.is_test_object,
        "Quality Control Image (0028,0300) or Subject (0010,0200); words in body part, descriptions and patient's name",
    ),
    Rule(
        Reason.FOR_PROCESSING,
        Stage.HEADER,
        _is_for_processing,
        "SOP Class UID (0008,0016), Presentation Intent Type (0008,0068)",
    ),
    Rule(
        Reason.DERIVED_OBJECT,
        Stage.HEADER,
        lambda subject: subject.facts.derivation != Derivation.NONE,
        "Image Type (0008,0008) from value 3, Derivation (0008,2111), (0008,9215), Conversion Type (0008,0064), "
        "Source Image of a capture (0008,2112), Series Description (0008,103E), Protocol Name (0018,1030)",
    ),
    Rule(
        Reason.NOT_CHEST,
        Stage.HEADER,
        _is_not_chest,
        "Body Part Examined (0018,0015); else Anatomic Region (0008,2218); else descriptions",
    ),
    Rule(Reason.BODY_PART_UNKNOWN, Stage.HEADER, _is_of_no_known_part, "the same", Policy.FLAG),
    Rule(
        Reason.LATERAL_VIEW,
        Stage.HEADER,
        _is_lateral,
        "View Position (0018,5101); else View Code (0054,0220); else Patient Orientation (0020,0020); else descriptions; "
        "else Body Part Examined (0018,0015)",
    ),
    Rule(Reason.VIEW_UNKNOWN, Stage.HEADER, _is_of_no_known_view, "the same", Policy.FLAG),
    Rule(
        Reason.AGE_OUT_OF_RANGE,
        Stage.HEADER,
        _is_out_of_age,
        "Patient's Age (0010,1010) other than 0; else Birth Date (0010,0030) and the film's dates; else an age of 0",
    ),
    Rule(
        Reason.AGE_UNKNOWN,
        Stage.HEADER,
        lambda subject: subject.facts.age_months is None,
        "the same",
        Policy.FLAG,
    ),
    Rule(
        Reason.BURNED_IN_ANNOTATION,
        Stage.HEADER,
        lambda subject: subject.facts.burned_in_annotation,
        "Burned In Annotation (0028,0301)",
        Policy.FLAG,
    ),
    Rule(
        Reason.NO_PIXEL_DATA,
        Stage.HEADER,
        lambda subject: not subject.facts.has_pixel_data,
        "Pixel Data (7FE0,0010)",
        is_changeable=False,
    ),
    Rule(
        Reason.MULTI_FRAME,
        Stage.HEADER,
        lambda subject: subject.facts.number_of_frames > 1,
        "Number of Frames (0028,0008)",
        is_changeable=False,
    ),
    Rule(
        Reason.UNSUPPORTED_TRANSFER_SYNTAX,
        Stage.HEADER,
        lambda subject: not is_decodable(subject.facts.transfer_syntax_uid),
        "Transfer Syntax UID (0002,0010)",
        is_changeable=False,
    ),
    Rule(
        Reason.TOO_SMALL,
        Stage.HEADER,
        _is_too_small,
        "Rows (0028,0010), Columns (0028,0011); again when decoded",
        is_changeable=False,
    ),
    Rule(
        Reason.CONSTANT_PICTURE,
        Stage.PICTURE,
        _is_constant,
        "the film: all but a hundredth of its pixels at either end within 32 greys",
        is_changeable=False,
    ),
    Rule(
        Reason.TEST_PATTERN,
        Stage.PICTURE,
        _is_test_pattern,
        "the film: few greys, grain without shapes, ramps, two tones, blobs or grids",
    ),
    Rule(
        Reason.INVERTED_PICTURE,
        Stage.PICTURE,
        _is_inverted,
        "the film, against the mean chest; Photometric Interpretation (0028,0004) against Pixel Intensity Relationship "
        "Sign (0028,1041) and Presentation LUT Shape (2050,0020)",
    ),
    Rule(Reason.UNLIKE_TRAINING, Stage.NETWORK, _is_unlike, "the network's own measure, where the model has one"),
)
