"""Evidence in a header against its film: an animal, a phantom, a picture computed from the film, a doubtful polarity.

In a hospital nine of ten films say DERIVED and one of three says SECONDARY, some name a workstation as their converter,
and many have an empty breed. None of these is evidence; only what is listed here is. The results are codes, so that no
text of a header leaves this module.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_io.header.terms import is_filler, words
from dicom_io.header.vocabulary import fold, fold_keeping_digits
from dicom_io.own_device import MANUFACTURER, device_uid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicom_io.header.elements import Elements

__all__ = [
    "EVIDENCE_TAGS",
    "Derivation",
    "Species",
    "derivation_of",
    "is_own_result",
    "is_polarity_in_doubt",
    "is_test_object",
    "species_of",
]

_TEXT_LIMIT = 256
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
_SOP_CLASS, _IMAGE_TYPE, _CONVERSION = 0x00080016, 0x00080008, 0x00080064
_DERIVATION, _DERIVATION_CODES, _SOURCE_IMAGES = 0x00082111, 0x00089215, 0x00082112
_STUDY_DESCRIPTION, _SERIES_DESCRIPTION, _PROTOCOL_NAME, _BODY_PART = 0x00081030, 0x0008103E, 0x00181030, 0x00180015
_NAME, _QC_SUBJECT, _QC_IMAGE = 0x00100010, 0x00100200, 0x00280300
_SPECIES, _SPECIES_CODES, _NEUTERED, _ROLE = 0x00102201, 0x00102202, 0x00102203, 0x00102298
_BREED, _BREED_CODES, _BREED_REGISTRATION = 0x00102292, 0x00102293, 0x00102294
_PHOTOMETRIC, _SIGN, _SHAPE, _SLOPE = 0x00280004, 0x00281041, 0x20500020, 0x00281053
_CODE_VALUE = 0x00080100
_EQUIPMENT, _MANUFACTURER, _MODEL_NAME = 0x0018A001, 0x00080070, 0x00081090
_SOFTWARE_VERSIONS, _DEVICE_UID = 0x00181020, 0x00181002
#: The longest text of the equipment, and more equipment than has ever touched an object.
_EQUIPMENT_LIMIT, _MOST_EQUIPMENT = 64, 100

#: The elements that the functions of this module read.
EVIDENCE_TAGS = frozenset(
    {
        *(_SOP_CLASS, _IMAGE_TYPE, _CONVERSION, _DERIVATION, _DERIVATION_CODES, _SOURCE_IMAGES),
        *(_STUDY_DESCRIPTION, _SERIES_DESCRIPTION, _PROTOCOL_NAME, _BODY_PART, _NAME, _QC_SUBJECT, _QC_IMAGE),
        *(_SPECIES, _SPECIES_CODES, _NEUTERED, _ROLE, _BREED, _BREED_CODES, _BREED_REGISTRATION),
        *(_PHOTOMETRIC, _SIGN, _SHAPE, _SLOPE, _EQUIPMENT),
    }
)


class Species(StrEnum):
    """The species of the patient."""

    HUMAN = "HUMAN"
    ANIMAL = "ANIMAL"
    UNKNOWN = ""


class Derivation(StrEnum):
    """The kind of picture that was computed from a film; NONE for the film itself."""

    NONE = ""
    BONE = "BONE"
    SOFT_TISSUE = "SOFT_TISSUE"
    SUBTRACTION = "SUBTRACTION"
    DUAL_ENERGY = "DUAL_ENERGY"
    TOMOGRAPHY = "TOMOGRAPHY"
    #: Slices or projections of a volume.
    REFORMAT = "REFORMAT"
    #: A companion picture in which lines, tubes or edges are enhanced.
    ENHANCED = "ENHANCED"
    #: The findings of a program: marks, heat maps, reports.
    ANALYSIS = "ANALYSIS"
    #: Graphics were drawn into the picture.
    OVERLAY = "OVERLAY"
    SCREENSHOT = "SCREENSHOT"
    #: A scanned or drawn page.
    DOCUMENT = "DOCUMENT"
    #: A capture that names the film it was taken from.
    COPY = "COPY"


# Homo sapiens in SNOMED CT, its older identifier, NCBI's taxonomy and UMLS (PS3.16 CID 7454).
_HUMAN_CODES = frozenset({"337915000", "L-85003", "L-85B00", "9606", "C0086418"})
_HUMAN_WORDS = words(
    "HUMAN HUMANS HUMANO HUMANA HUMAIN HUMAINE UMANO UMANA HOMO SAPIENS MENSCH MENSCHLICH MENS CZLOWIEK CLOVEK EMBER "
    "INSAN MANUSIA PERSON HOMME HOMBRE ЧЕЛОВЕК ЛЮДИНА 人 人类 人間 ヒト"
)
_TEST_WORDS = re.compile(
    r"\b(PHANTOMS?|FANTOMS?|FANTOMAS?|FANTOME|PHANTOME|SMPTE|TG ?18|CDRAD|DIN 6868|FLAT ?FIELD|"
    r"TEST ?(PATTERN|CHART|BILD|OBJECT|KOERPER|KORPER)S?|QUALITY (CONTROL|ASSURANCE)|KONSTANZPRUE?FUNG)\b(?! (LIMB|PAIN))"
    r"|^Q[AC]\b"
)
# Whole words without digits, as ``fold`` returns them. Those of the first table mean the same in every element; those
# of the others only as a value of Image Type, in a description of the derivation or on a capture: "CAD" in a study
# description is coronary artery disease, and "dual energy" in a series description also names the plain film.
_ANYWHERE: Mapping[Derivation, tuple[str, ...]] = {
    Derivation.BONE: ("BONE SUPPRESSION", "BONE SUPPRESSED", "BONE IMAGE", "BONE ONLY", "RIB SUPPRESSION"),
    Derivation.SOFT_TISSUE: ("SOFT TISSUE IMAGE", "SOFT TISSUE ONLY"),
    Derivation.SUBTRACTION: ("SUBTRACTION", "SUBTRACTED"),
    Derivation.TOMOGRAPHY: ("TOMOSYNTHESIS", "TOMOSYNTHESE", "TOMOGRAM", "TOMOGRAPHY", "TOMO"),
    Derivation.ANALYSIS: (
        *("HEATMAP", "HEAT MAP", "SALIENCY", "AI RESULT", "AI RESULTS", "AI OVERLAY", "AI REPORT", "AI SUMMARY"),
        *("CAD RESULT", "CAD RESULTS", "CAD OVERLAY", "CAD MARKS", "CAD REPORT"),
    ),
    Derivation.SCREENSHOT: ("SCREENSHOT", "SCREEN SHOT", "SCREEN CAPTURE", "SCREEN SAVE", "SCREENSAVE"),
}
_IN_IMAGE_TYPE: Mapping[Derivation, tuple[str, ...]] = {
    Derivation.BONE: ("BONE", "BONES"),
    Derivation.SOFT_TISSUE: ("SOFT TISSUE", "SOFTTISSUE", "SOFT"),
    Derivation.SUBTRACTION: ("SUBTRACT", "SUB"),
    Derivation.DUAL_ENERGY: ("DUAL ENERGY", "DUALENERGY", "DES"),
    Derivation.TOMOGRAPHY: ("DTS", "GENERATED D"),
    Derivation.REFORMAT: ("MIP", "MINIP", "MAX IP", "MPR", "VOLUME", "REFORMATTED", "PROJECTION IMAGE"),
    Derivation.ENHANCED: ("ENHANCED", "LINE ENHANCED", "TUBE ENHANCED"),
    Derivation.ANALYSIS: ("CAD", "AI"),
    Derivation.OVERLAY: ("OVERLAY", "ANNOTATED"),
}
_IN_DERIVATION: Mapping[Derivation, tuple[str, ...]] = {
    Derivation.SOFT_TISSUE: ("SOFT TISSUE",),
    Derivation.DUAL_ENERGY: ("DUAL ENERGY",),
    Derivation.ANALYSIS: ("CAD",),
}
_ON_A_CAPTURE: Mapping[Derivation, tuple[str, ...]] = {Derivation.ANALYSIS: ("CAD", "AI")}
# Codes of PS3.16 CID 7203; a film after lossy compression, resampling, smoothing or sharpening is still a film.
_DERIVATION_MEANS: Mapping[str, Derivation] = {
    "113062": Derivation.SUBTRACTION,
    "113097": Derivation.DUAL_ENERGY,
    "113076": Derivation.ANALYSIS,
    **dict.fromkeys(("113072", "113073", "113074", "113075", "113078", "113079", "113091"), Derivation.REFORMAT),
}


def species_of(elements: Elements) -> Species:
    """Read the species of the patient (PS3.3 C.7.1.1).

    Parameters
    ----------
    elements : Elements
        The header.

    Returns
    -------
    Species
        By Patient Species; without it, ANIMAL for a breed, a neutered sex or an owner; else UNKNOWN. Elements without
        a value are ignored, because real films of humans have an empty breed.
    """
    stated = elements.text(_SPECIES, _TEXT_LIMIT)
    if not is_filler(stated):
        return Species.HUMAN if _HUMAN_WORDS.intersection(fold(stated).split()) else Species.ANIMAL
    codes = [item.plain(_CODE_VALUE) for item in elements.items(_SPECIES_CODES)]
    if any(codes):
        return Species.HUMAN if _HUMAN_CODES.intersection(codes) else Species.ANIMAL
    is_animal = (
        not is_filler(elements.text(_BREED, _TEXT_LIMIT))
        or any(item.plain(_CODE_VALUE) for item in elements.items(_BREED_CODES))
        or any(elements.items(_BREED_REGISTRATION))
        or elements.code(_NEUTERED) in ("ALTERED", "UNALTERED")
        or elements.code(_ROLE) == "OWNER"
    )
    return Species.ANIMAL if is_animal else Species.UNKNOWN


def is_test_object(elements: Elements) -> bool:
    """Whether the header says that the film shows a phantom or a test pattern.

    Parameters
    ----------
    elements : Elements
        The header.

    Returns
    -------
    bool
        True for Quality Control Image or Subject YES (PS3.3 C.7.6.1, C.7.1.1), or for words like PHANTOM, TG18, SMPTE
        or TEST PATTERN in body part, descriptions, protocol or the patient's name; QA and QC count only as the first
        word.
    """
    if "YES" in (elements.code(_QC_IMAGE), elements.code(_QC_SUBJECT)):
        return True
    tags = (_BODY_PART, _STUDY_DESCRIPTION, _SERIES_DESCRIPTION, _PROTOCOL_NAME, _NAME)
    return any(_TEST_WORDS.search(fold_keeping_digits(elements.text(tag, _TEXT_LIMIT))) for tag in tags)


def derivation_of(elements: Elements) -> Derivation:
    """Find out whether a header describes a picture that was computed from a film.

    Parameters
    ----------
    elements : Elements
        The header.

    Returns
    -------
    Derivation
        The first found in the values of Image Type from the third on (PS3.3 C.7.6.1.1.2), the descriptions and
        codes of the derivation, the series description and protocol, the conversion type of a scanned or drawn page
        (PS3.3 C.8.6.1), or the source image of a Secondary Capture; NONE for the film itself.
    """
    values = elements.plain(_IMAGE_TYPE).split("\\")[2:]
    stated = elements.text(_DERIVATION, _TEXT_LIMIT)
    described = f"{elements.text(_SERIES_DESCRIPTION, _TEXT_LIMIT)} {elements.text(_PROTOCOL_NAME, _TEXT_LIMIT)}"
    is_capture = elements.uid(_SOP_CLASS).startswith(_CAPTURES)
    found = (
        *(_named(value, _IN_IMAGE_TYPE, _ANYWHERE) for value in values),
        _named(stated, _IN_DERIVATION, _ANYWHERE),
        *(
            _DERIVATION_MEANS.get(item.plain(_CODE_VALUE), Derivation.NONE)
            for item in elements.items(_DERIVATION_CODES)
        ),
        _named(described, _ANYWHERE, _ON_A_CAPTURE if is_capture else {}),
        Derivation.DOCUMENT if elements.code(_CONVERSION) in ("SD", "DRW") else Derivation.NONE,
        Derivation.COPY if is_capture and any(elements.items(_SOURCE_IMAGES)) else Derivation.NONE,
    )
    return next((derivation for derivation in found if derivation is not Derivation.NONE), Derivation.NONE)


def is_own_result(elements: Elements) -> bool:
    """Whether Auscult made an object of a result: it names a Device UID of ours as Contributing Equipment (PS3.3 C.12.1).

    Parameters
    ----------
    elements : Elements
        The header.

    Returns
    -------
    bool
        What an archive has changed of patient and study does not matter.
    """
    return any(_is_our_device(item) for item in elements.items(_EQUIPMENT, _MOST_EQUIPMENT))


def _is_our_device(item: Elements) -> bool:
    uid = item.uid(_DEVICE_UID)
    if not uid or item.text(_MANUFACTURER, _EQUIPMENT_LIMIT) != MANUFACTURER:
        return False
    name, versions = (item.text(tag, _EQUIPMENT_LIMIT) for tag in (_MODEL_NAME, _SOFTWARE_VERSIONS))
    return uid == device_uid(name, versions)


def is_polarity_in_doubt(elements: Elements) -> bool:
    """Whether elements contradict each other about which values are shown white.

    Parameters
    ----------
    elements : Elements
        The header.

    Returns
    -------
    bool
        True if more X-rays are shown brighter: Pixel Intensity Relationship Sign 1 with MONOCHROME2, or -1 with
        MONOCHROME1 (PS3.3 C.8.11.3; a negative slope reverses the sign); or Presentation LUT Shape IDENTITY with
        MONOCHROME1, INVERSE with MONOCHROME2.
    """
    photometric, shape = elements.code(_PHOTOMETRIC), elements.code(_SHAPE)
    sign = elements.integer(_SIGN) * (-1 if min(elements.numbers(_SLOPE), default=1.0) < 0 else 1)
    if photometric == "MONOCHROME1":
        return sign == -1 or shape == "IDENTITY"
    return photometric == "MONOCHROME2" and (sign == 1 or shape == "INVERSE")


def _named(text: str, *tables: Mapping[Derivation, tuple[str, ...]]) -> Derivation:
    folded = f" {fold(text)} "
    for table in tables:
        for derivation, phrases in table.items():
            if any(f" {phrase} " in folded for phrase in phrases):
                return derivation
    return Derivation.NONE
