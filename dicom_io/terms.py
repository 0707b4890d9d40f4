"""The words people write for modalities, body parts and views, in the spellings and languages seen in headers.

Body parts and views are told apart by whole words: "XR C Spine LAT" is a spine and a lateral, "LATISSIMUS" is neither.
What is kept of such an element is made of these words alone, for anything may stand in it, even a name in capitals.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum


class Region(StrEnum):
    """What a text says about the part of the body."""

    CHEST = "CHEST"
    OTHER = "OTHER"
    UNKNOWN = ""


class View(StrEnum):
    """What a text says about the direction of the beam."""

    FRONTAL = "FRONTAL"
    #: Lateral or oblique: any film that is not frontal.
    LATERAL = "LATERAL"
    UNKNOWN = ""


def words(text: str) -> frozenset[str]:
    """The words of a text, parted by blanks."""
    return frozenset(text.split())


#: Whole words for the chest: English, German, French, Spanish, Portuguese, Italian, Dutch, Nordic, Polish, Czech,
#: Hungarian, Romanian, Turkish, Indonesian (accents are folded away first).
_CHEST_WORDS = words(
    "CHEST CHST CXR THORAX THORACIC THX TORAX TORACE TORAKS TORACAL LUNG LUNGS LUNGE LUNGEN LUNGA LUNGOR LUNGER LONGEN "
    "PULMO PULMON PULMONES PULMAO PULMOES PULMONARY PULMONAIRE POUMON POUMONS POLMONE POLMONI PLAMAN PLUCA PLICE PARU "
    "AKCIGER GOGUS BRUSTKORB BRYSTKASSE RINTAKEHA KEUHKOT KLATKA HRUDNIK MELLKAS TUDO RIBCAGE HEMITHORAX "
    "THORAXORGANE THORAXAUFNAHME THORAXBILD THORAXUEBERSICHT THORAXUBERSICHT THORAXFOTO THORAXRONTGEN LUNGRONTGEN "
    "LUNGENAUFNAHME LUNGENUEBERSICHT LUNGENUBERSICHT THORAXAP THORAXPA CHESTAP CHESTPA"
)
#: The same in scripts that do not fold to Latin letters; matched anywhere, for these scripts part words in other ways.
_CHEST_FRAGMENTS = (
    "胸",
    "肺",
    "흉부",
    "가슴",
    "ГРУДН",
    "ЛЕГК",
    "ЛЁГК",
    "ОГК",
    "ГРУДЕН",
    "ΘΩΡΑΚ",
    "ΠΝΕΥΜ",
    "صدر",
    "רנטגן חזה",
    "חזה",
)
#: What tells, in these scripts, that the thoracic spine or the breastbone is meant.
_BONE_FRAGMENTS = ("椎", "胸骨", "ПОЗВОН", "ХРЕБ")
#: Whole words for other parts; used to refuse a film whose body part element is empty but whose description tells.
_OTHER_WORDS = words(
    "ABDOMEN ABD KUB PELVIS HIP HIPS KNEE KNEES HAND HANDS WRIST FOOT FEET ANKLE ELBOW SHOULDER HUMERUS FEMUR TIBIA "
    "FIBULA FOREARM FINGER FINGERS THUMB TOE TOES HEEL CALCANEUS PATELLA SKULL CRANIUM MANDIBLE SINUS SINUSES ORBITS "
    "NASAL DENTAL SPINE CSPINE TSPINE LSPINE CERVICAL LUMBAR SACRUM COCCYX SCOLIOSIS CLAVICLE SCAPULA RIB RIBS STERNUM "
    "EXTREMITY EXTREMETY BREAST NECK BONEAGE SKELETON WHOLEBODY BABYGRAM "
    "KNIE HUEFTE HUFTE BECKEN SCHULTER HANDGELENK SPRUNGGELENK FUSS SCHAEDEL SCHADEL HWS BWS LWS WIRBELSAEULE RIPPEN "
    "GENOU PIED BASSIN CHEVILLE EPAULE RACHIS CRANE POIGNET COUDE HANCHE COTES "
    "RODILLA CADERA COLUMNA HOMBRO CODO TOBILLO CRANEO MUNECA JOELHO QUADRIL COLUNA OMBRO "
    "GINOCCHIO PIEDE ANCA BACINO SPALLA GOMITO POLSO CAVIGLIA CRANIO"
)
#: What people write into a field they must fill and cannot; it says nothing.
_EMPTY_WORDS = words(
    "N A UNKNOWN UNSPECIFIED UNDEFINED NONE NA NULL UNBEKANNT INCONNU DESCONOCIDO XX XXX NOT APPLICABLE AVAILABLE KNOWN "
    "SPECIFIED DEFINED DEFAULT"
)

_FRONTAL_WORDS = words(
    "AP PA APPA FRONTAL FRONT DV VD FACE FRENTE POSTEROANTERIOR ANTEROPOSTERIOR DORSOVENTRAL VENTRODORSAL"
)
_OBLIQUE_WORDS = words("LAO RAO LPO RPO LLO RLO LRO OBL OBLI OBLIQUE OBLIQUES OBLIQUA OBLICUA SCHRAEG SCHRAG")
_LATERAL_WORDS = words(
    "LAT LATERAL LATERALE LATERALIS LATERALLY LATERAAL LL RL LLAT RLAT SEITL SEITLICH PROFIL PROFILE PERFIL BOCNY BOCNI "
    "BOCZNY BOCZNA BOCZNE"
)
# A view in parts, "P.A." or "antero-posterior", once its punctuation is gone.
_PARTED_VIEW = re.compile(r"(?<=\bA) (?=P\b)|(?<=\bP) (?=A\b)|(?<=O) (?=ANTERIOR|POSTERIOR)")
#: Lying on the side with a horizontal beam: named after the side, but the film is frontal.
_DECUBITUS_WORDS = words("DECUB DECUBITUS LLD RLD LLDECUB RLDECUB")
#: What is written beside a body part or a view and changes neither.
_BESIDE_WORDS = words(
    "NON GRID PORTABLE MOBILE BED BEDSIDE LEFT RIGHT BOTH UPPER LOWER LARGE SMALL VIEW VIEWS XR XRAY RX SUPINE PRONE ERECT "
    "UPRIGHT SITTING STANDING SEMIERECT INSPIRATION EXPIRATION PEDIATRIC PAEDIATRIC INFANT CHILD ADULT OTHER AND"
)

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


#: Of more letters no column holds the last, and the last word may be the one that matters; a CS value has 16.
_LONGEST = 32

# Defined terms of Modality, retired ones included (PS3.3 C.7.3.1.1.1).
_MODALITIES = words(
    "ANN AR AS ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG EOG EPS ES FA "
    "FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS "
    "OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR "
    "SR SRF ST STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC"
)
#: What is written for a plain radiograph without being a defined term.
_RADIOGRAPH_WORDS = words("XR XRAY DR RAD RX")
# The term "Other".
_OTHER_MODALITY = "OT"


def modality_of(code: str) -> str:
    """What is kept of Modality.

    Parameters
    ----------
    code : str
        The element's value in capitals.

    Returns
    -------
    str
        A defined term; RG for other words for a plain radiograph, OT for any other word, "" for none.
    """
    if not code or code in _MODALITIES:
        return code
    return "RG" if "".join(fold(code).split()) in _RADIOGRAPH_WORDS else _OTHER_MODALITY


def body_part_of(text: str) -> str:
    """What is kept of BodyPartExamined: its words in capitals if few and all known, else CHEST, OTHER or ""."""
    return _known(text, _PART_WORDS) or str(region_of_body_part(text))


def view_of(text: str) -> str:
    """What is kept of ViewPosition: its words in capitals if few and all known, else FRONTAL, LATERAL or ""."""
    return _known(text, _VIEW_WORDS) or str(view_of_words(text))


def says_nothing(text: str) -> bool:
    """Whether a text is empty or one of those that people write into a field they must fill."""
    return not set(fold(text).split()) - _EMPTY_WORDS


def _known(text: str, vocabulary: frozenset[str]) -> str:
    folded = fold(text)
    return folded if len(folded) <= _LONGEST and vocabulary.issuperset(folded.split()) else ""


def fold(text: str) -> str:
    """Capitals without accents, punctuation or digits, words parted by single blanks."""
    return " ".join(re.sub(r"\d+", " ", fold_but_digits(text)).split())


def fold_but_digits(text: str) -> str:
    """Capitals and digits without accents or punctuation, words parted by single blanks."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "SS").replace("ł", "l").replace("Ł", "L"))
    letters = "".join(char for char in plain if not unicodedata.combining(char)).upper()
    return " ".join(re.sub(r"[\W_]+", " ", letters).split())


def region_of_body_part(text: str) -> Region:
    """What BodyPartExamined says: any word that is not known to be the chest is another part.

    "NON GRID CHEST" is a chest, "CHEST ABDOMEN" (the whole trunk of a newborn) is not.
    """
    folded = fold(text)
    found = set(folded.split())
    if says_nothing(text):
        return Region.UNKNOWN
    if found & _OTHER_WORDS:
        return Region.OTHER
    if found & _CHEST_WORDS or _has_chest_fragment(folded):
        return Region.CHEST
    return Region.OTHER


def region_of_description(text: str) -> Region:
    """What a free description says; most words say nothing, and a chest that is named outweighs any other part."""
    folded = fold(text)
    found = set(folded.split())
    if found & (_CHEST_WORDS - {"THORACIC"}) or _has_chest_fragment(folded):
        return Region.CHEST
    return Region.OTHER if found & _OTHER_WORDS else Region.UNKNOWN


def region_of_codes(codes: tuple[str, ...]) -> Region:
    """What the code values of AnatomicRegionSequence say."""
    if _CHEST_CODES.intersection(codes):
        return Region.CHEST
    return Region.OTHER if codes else Region.UNKNOWN


def view_of_words(text: str) -> View:
    """What ViewPosition or a description says; words for both views, as in "PA and lateral", say nothing.

    An oblique view is none of both, even if it is named after the one it is near to ("AP oblique").
    """
    found = set(_PARTED_VIEW.sub("", fold(text)).split())
    if found & _DECUBITUS_WORDS:
        return View.UNKNOWN
    if found & _OBLIQUE_WORDS and not found & _LATERAL_WORDS:
        return View.LATERAL
    frontal, lateral = found & _FRONTAL_WORDS, found & _LATERAL_WORDS
    if lateral and not frontal:
        return View.LATERAL
    return View.FRONTAL if frontal and not lateral else View.UNKNOWN


def view_of_codes(codes: tuple[str, ...]) -> View:
    """What the code values of ViewCodeSequence say."""
    if _LATERAL_CODES.intersection(codes):
        return View.LATERAL
    return View.FRONTAL if _FRONTAL_CODES.intersection(codes) else View.UNKNOWN


def view_of_orientation(text: str) -> View:
    r"""What PatientOrientation says: rows that run to the left or right are frontal, to front or back lateral.

    PS3.3 C.7.6.1.1.1: the first value is the direction of the rows, its first letter the main one ("L\F", "A\F").
    """
    rows, _, columns = text.upper().partition("\\")
    if rows[:1] in ("L", "R") and columns[:1] in ("F", "H"):
        return View.FRONTAL
    return View.LATERAL if rows[:1] in ("A", "P") and columns[:1] in ("F", "H") else View.UNKNOWN


def _has_chest_fragment(folded: str) -> bool:
    if any(fragment in folded for fragment in _BONE_FRAGMENTS):
        return False
    return any(fragment in folded for fragment in _FOLDED_FRAGMENTS)


_FOLDED_FRAGMENTS = tuple(fold(fragment) for fragment in _CHEST_FRAGMENTS)
_PART_WORDS = _CHEST_WORDS | _OTHER_WORDS | _EMPTY_WORDS | _FRONTAL_WORDS | _LATERAL_WORDS | _BESIDE_WORDS
_VIEW_WORDS = _FRONTAL_WORDS | _LATERAL_WORDS | _OBLIQUE_WORDS | _DECUBITUS_WORDS | _CHEST_WORDS | _BESIDE_WORDS
