"""The meaning of modalities, body parts and views, in the spellings and languages seen in headers.

Body parts and views are recognised by the words of one table (``vocabulary``), which has the same languages for both:
"XR C Spine LAT" is a spine and a lateral, "LATISSIMUS" is neither. A word that is not in the table means nothing. Only
words of the table are kept of such an element, because anything may be written there, even a name in capitals.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_io.header.vocabulary import Meaning, fold, is_made_of, meanings

if TYPE_CHECKING:
    from dicom_io.header.elements import Elements

_DESCRIPTION_LIMIT = 255
_BODY_PART, _REGION_SEQUENCE = 0x00180015, 0x00082218
_VIEW_POSITION, _VIEW_SEQUENCE, _ORIENTATION = 0x00185101, 0x00540220, 0x00200020
_VIEW_MODIFIERS = 0x00540222
_CODE_VALUE, _LONG_CODE_VALUE, _CODE_MEANING = 0x00080100, 0x00080119, 0x00080104
#: The elements that `body_part` and `view_position` read.
PLACE_TAGS = frozenset({_BODY_PART, _REGION_SEQUENCE, _VIEW_POSITION, _VIEW_SEQUENCE, _ORIENTATION})


class Region(StrEnum):
    """The region of the body that a text or code names."""

    CHEST = "CHEST"
    OTHER = "OTHER"
    UNKNOWN = ""


class View(StrEnum):
    """The direction of the beam that a text or code names."""

    FRONTAL = "FRONTAL"
    #: Lateral or oblique: every view that is not frontal.
    LATERAL = "LATERAL"
    UNKNOWN = ""


def words(text: str) -> frozenset[str]:
    """Split a text at blanks into a set of words."""
    return frozenset(text.split())


# A view in parts, "P.A." or "antero-posterior", after its punctuation is removed.
_PARTED_VIEW = re.compile(r"(?<=\bA) (?=P\b)|(?<=\bP) (?=A\b)|(?<=O) (?=ANTERIOR|POSTERIOR)")
_PART_MEANINGS = frozenset(Meaning) - {Meaning.OBLIQUE, Meaning.DECUBITUS}
_VIEW_MEANINGS = frozenset(Meaning) - {Meaning.OTHER, Meaning.ALONE, Meaning.EMPTY}

# Code values for the view (PS3.16 CID 4010: SNOMED CT, and the older SNOMED RT codes).
_FRONTAL_CODES = words("R-10206 R-10214 R-10202 R-40888 399348003 272479007 399033003")
_LATERAL_CODES = words(
    "R-10236 R-10232 R-102CD R-10228 R-10224 G-A145 R-10208 R-10204 R-40783 R-10230 R-10220 R-10238 R-10212 R-40782 "
    "R-10226 R-102C1 R-10216 R-40985 R-10234 R-10210 "
    "399173006 399198007 399067008 399352003 399260004 30730003 399312000 399160007 260427002 399099002 399135007 "
    "399184004 399006002 260426006 399368009 399182000 399059000 399356000 399236003 399038007"
)
# Code values for the anatomic region (PS3.16 CID 4031 and its older codes): chest, thoracic cavity, lungs.
_CHEST_CODES = words(
    "T-D3000 51185008 816094009 T-D3200 43799004 T-28000 39607008 T-28080 74101002 T-28100 3341006 T-28500 44029006"
)
#: Codes of the topography axis of SNOMED RT: all others than those above name another part.
_TOPOGRAPHY = re.compile(r"T-[0-9A-F]{4,6}")
# The other parts that are radiographed, in SNOMED CT: trunk, head, spine, arm, leg.
_OTHER_CODES = words(
    "818981001 113345001 818982008 818983003 12921003 816092008 76752008 416775004 416550000 416949008 38266002 22943007 "
    "69536005 774007 89546000 89545001 91609006 70925003 363654007 2095001 53620006 13881006 45206002 45048000 "
    "421060004 51282000 122494005 122495006 122496007 297171002 297172009 297173004 54735007 64688005 39723000 113197003 "
    "56873002 "
    "51299004 79601000 16982005 85050009 40983000 127949000 16953009 14975008 62413002 23416004 8205005 74670003 85562004 "
    "7569003 76505004 53120007 66019005 "
    "29836001 24136001 71341001 68367000 72696002 49076000 64234005 30021000 12611008 87342007 344001 70258002 56459004 "
    "80144004 29707007 61685007"
)


#: Longer values do not fit the column, and a cut value might lose the word that matters; a CS value has 16 characters.
_LONGEST = 32

# Defined terms of Modality, retired ones included (PS3.3 C.7.3.1.1.1).
_MODALITIES = words(
    "ANN AR AS ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG EOG EPS ES FA "
    "FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS "
    "OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR "
    "SR SRF ST STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC"
)
#: Words for a plain radiograph that are not defined terms.
_RADIOGRAPH_WORDS = words("XR XRAY DR RAD RX")
# The term "Other".
_OTHER_MODALITY = "OT"


def modality_of(code: str) -> str:
    """Reduce Modality to a defined term.

    Parameters
    ----------
    code : str
        The element's value in capitals.

    Returns
    -------
    str
        A defined term; "RG" for other words for a plain radiograph, "OT" for any other word, "" for none.
    """
    if not code or code in _MODALITIES:
        return code
    return "RG" if "".join(fold(code).split()) in _RADIOGRAPH_WORDS else _OTHER_MODALITY


def body_part_of(text: str) -> str:
    """Reduce BodyPartExamined: its words in capitals if all are known and short enough, else CHEST, OTHER or ""."""
    return _known(text, _PART_MEANINGS) or str(region_of_body_part(text))


def view_of(text: str) -> str:
    """Reduce ViewPosition: its words in capitals if all are known and short enough, else FRONTAL, LATERAL or ""."""
    return _known(text, _VIEW_MEANINGS) or str(view_of_words(text))


def is_filler(text: str) -> bool:
    """Whether a text is empty or one of the fillers that people write into required fields."""
    return is_made_of(fold(text), frozenset({Meaning.EMPTY}))


def _known(text: str, allowed: frozenset[Meaning]) -> str:
    folded = fold(text)
    return folded if len(folded) <= _LONGEST and is_made_of(folded, allowed) else ""


def region_of_body_part(text: str) -> Region:
    """Return the region that BodyPartExamined names; unknown words are ignored.

    "NON GRID CHEST" is a chest, "CHEST ABDOMEN" (the whole trunk of a newborn) is not.
    """
    found = meanings(fold(text))
    if Meaning.OTHER in found:
        return Region.OTHER
    if found & {Meaning.CHEST, Meaning.THORACIC}:
        return Region.CHEST
    return Region.OTHER if Meaning.ALONE in found else Region.UNKNOWN


def region_of_description(text: str) -> Region:
    """Return the region that a free description names; a chest outweighs any other part that is named beside it."""
    found = meanings(fold(text))
    if Meaning.CHEST in found:
        return Region.CHEST
    return Region.OTHER if Meaning.OTHER in found else Region.UNKNOWN


def region_of_codes(codes: tuple[str, ...]) -> Region:
    """Return the region that code values of AnatomicRegionSequence name; codes of a site's own name none."""
    if _CHEST_CODES.intersection(codes):
        return Region.CHEST
    is_other = any(code in _OTHER_CODES or _TOPOGRAPHY.fullmatch(code) for code in codes)
    return Region.OTHER if is_other else Region.UNKNOWN


def view_of_words(text: str) -> View:
    """Return the view that ViewPosition or a description names; words for both views ("PA and lateral") name none.

    An oblique view counts as LATERAL, even if it is named after a frontal one ("AP oblique").
    """
    found = meanings(_PARTED_VIEW.sub("", fold(text)))
    if Meaning.DECUBITUS in found:
        return View.UNKNOWN
    if Meaning.OBLIQUE in found and Meaning.LATERAL not in found:
        return View.LATERAL
    if Meaning.LATERAL in found:
        return View.UNKNOWN if Meaning.FRONTAL in found else View.LATERAL
    return View.FRONTAL if Meaning.FRONTAL in found else View.UNKNOWN


def view_of_codes(codes: tuple[str, ...]) -> View:
    """Return the view that code values of ViewCodeSequence name."""
    if _LATERAL_CODES.intersection(codes):
        return View.LATERAL
    return View.FRONTAL if _FRONTAL_CODES.intersection(codes) else View.UNKNOWN


def view_of_orientation(text: str) -> View:
    r"""Return the view by PatientOrientation: rows to the left or right are frontal, to front or back lateral.

    PS3.3 C.7.6.1.1.1: the first value is the direction of the rows, its first letter the main one ("L\F", "A\F").
    """
    rows, _, columns = text.upper().partition("\\")
    if rows[:1] in ("L", "R") and columns[:1] in ("F", "H"):
        return View.FRONTAL
    return View.LATERAL if rows[:1] in ("A", "P") and columns[:1] in ("F", "H") else View.UNKNOWN


def body_part(elements: Elements, *descriptions: str) -> str:
    """BodyPartExamined if it names a part, else "CHEST" or "OTHER" by the region's code or name or the descriptions.

    The first description that names a part counts, because one study may hold a chest and a hand.
    """
    stated = elements.text(_BODY_PART, _DESCRIPTION_LIMIT)
    if region_of_body_part(stated) is not Region.UNKNOWN:
        return body_part_of(stated)
    coded = region_of_codes(_codes(elements, _REGION_SEQUENCE))
    named = region_of_description(_meanings(elements, _REGION_SEQUENCE))
    if named is Region.CHEST or not coded:
        coded = named
    return str(coded or next(filter(None, map(region_of_description, descriptions)), Region.UNKNOWN))


def view_position(elements: Elements, descriptions: str) -> str:
    """ViewPosition if it names a view, else what view code, orientation, description or body part ("CHEST LAT") say.

    A frontal view that another of these elements calls lateral is kept as "FRONTAL LATERAL", which counts as unknown:
    the technician may have taken the lateral film with the programme for the frontal one.
    """
    stated = elements.text(_VIEW_POSITION, _DESCRIPTION_LIMIT)
    implied = (
        view_of_codes(_codes(elements, _VIEW_SEQUENCE)),
        view_of_words(_meanings(elements, _VIEW_SEQUENCE)),
        view_of_orientation(elements.plain(_ORIENTATION)),
        view_of_words(descriptions),
        view_of_words(elements.text(_BODY_PART, _DESCRIPTION_LIMIT)),
    )
    view = view_of_words(stated) or next(filter(None, implied), View.UNKNOWN)
    if view is View.FRONTAL and View.LATERAL in implied:
        return f"{View.FRONTAL} {View.LATERAL}"
    return view_of(stated) if view_of_words(stated) or not view else str(view)


def _codes(elements: Elements, sequence: int) -> tuple[str, ...]:
    found = (item.plain(_CODE_VALUE) or item.plain(_LONG_CODE_VALUE) for item in elements.items(sequence))
    return tuple(code for code in found if code)


def _meanings(elements: Elements, sequence: int) -> str:
    """The code meanings of a sequence and of its view modifiers, for sites that use codes of their own."""
    items = [item for code in elements.items(sequence) for item in (code, *code.items(_VIEW_MODIFIERS))]
    return " ".join(item.text(_CODE_MEANING, _DESCRIPTION_LIMIT) for item in items)
