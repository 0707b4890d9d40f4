"""Evidence in a header against its film, and what is not evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_io.gate.judge import AgeRange, GateInput, judge
from dicom_io.header.evidence import Derivation, Species
from dicom_io.header.reader import facts_of, read_facts
from tests.support.films import film, save

if TYPE_CHECKING:
    from pathlib import Path

    from dicom_io.header.facts import Facts

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def coded(value: str, meaning: str = "", **elements: Any) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = value, meaning
    for keyword, element in elements.items():
        setattr(item, keyword, element)
    return Sequence([item])


def facts(**elements: Any) -> Facts:
    return facts_of(film(**elements))


@pytest.mark.parametrize(
    ("elements", "species"),
    [
        ({}, Species.UNKNOWN),
        ({"PatientSpeciesDescription": "Homo sapiens"}, Species.HUMAN),
        ({"PatientSpeciesDescription": "HUMAN"}, Species.HUMAN),
        ({"PatientSpeciesDescription": "Mensch"}, Species.HUMAN),
        ({"PatientSpeciesDescription": "Человек"}, Species.HUMAN),
        ({"PatientSpeciesDescription": "ヒト"}, Species.HUMAN),
        ({"PatientSpeciesDescription": "Canine"}, Species.ANIMAL),
        ({"PatientSpeciesDescription": "Felis catus"}, Species.ANIMAL),
        ({"PatientSpeciesDescription": "unknown"}, Species.UNKNOWN),
        ({"PatientSpeciesCodeSequence": coded("337915000")}, Species.HUMAN),
        ({"PatientSpeciesCodeSequence": coded("L-80700")}, Species.ANIMAL),
        ({"PatientSpeciesCodeSequence": Sequence()}, Species.UNKNOWN),
        ({"PatientBreedDescription": "Golden Retriever"}, Species.ANIMAL),
        ({"PatientBreedCodeSequence": coded("L-80900")}, Species.ANIMAL),
        ({"PatientBreedDescription": ""}, Species.UNKNOWN),
        # 474 of 7,469 real films of humans have it so
        ({"BreedRegistrationSequence": Sequence()}, Species.UNKNOWN),
        ({"PatientSexNeutered": "ALTERED"}, Species.ANIMAL),
        ({"PatientSexNeutered": ""}, Species.UNKNOWN),
        ({"ResponsiblePersonRole": "OWNER"}, Species.ANIMAL),
        ({"ResponsiblePersonRole": "PARENT"}, Species.UNKNOWN),
        ({"PatientSpeciesDescription": "Human", "ResponsiblePersonRole": "OWNER"}, Species.HUMAN),
    ],
)
def test_the_species_is_what_the_header_says_of_it(elements: dict[str, Any], species: Species) -> None:
    assert facts(**elements).species is species


@pytest.mark.parametrize(
    "elements",
    [
        {"QualityControlImage": "YES"},
        {"QualityControlSubject": "YES"},
        {"BodyPartExamined": "PHANTOM"},
        {"SeriesDescription": "TG18-QC"},
        {"SeriesDescription": "tg18_uniform"},
        {"SeriesDescription": "Flat-Field 70 kV"},
        {"SeriesDescription": "QC 2024"},
        {"StudyDescription": "SMPTE"},
        {"StudyDescription": "QA"},
        {"StudyDescription": "Monthly quality control"},
        {"StudyDescription": "Konstanzprüfung"},
        {"ProtocolName": "Test pattern"},
        {"PatientName": "PHANTOM^CHEST"},
        {"PatientName": "QA^Weekly"},
    ],
)
def test_a_phantom_or_test_pattern_is_named_in_many_ways(elements: dict[str, Any]) -> None:
    assert facts(SpecificCharacterSet="ISO_IR 192", **elements).is_test_object


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"QualityControlImage": "NO", "QualityControlSubject": "NO"},
        {"StudyDescription": "Phantom limb pain"},
        {"StudyDescription": "Chest, QA done"},
        {"SeriesDescription": "Contest of strength"},
        {"PatientName": "Test^Anna"},
        {"PatientName": "Qadir^Aquila"},
    ],
)
def test_a_patient_is_not_taken_for_a_phantom(elements: dict[str, Any]) -> None:
    assert not facts(**elements).is_test_object


@pytest.mark.parametrize(
    ("elements", "derivation"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "BONE"]}, Derivation.BONE),
        ({"ImageType": ["DERIVED", "SECONDARY", "", "SOFT_TISSUE"]}, Derivation.SOFT_TISSUE),
        ({"ImageType": ["DERIVED", "PRIMARY", "SUBTRACT"]}, Derivation.SUBTRACTION),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "DUAL ENERGY"]}, Derivation.DUAL_ENERGY),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS"]}, Derivation.TOMOGRAPHY),
        ({"ImageType": ["DERIVED", "PRIMARY", "GENERATED_2D"]}, Derivation.TOMOGRAPHY),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, Derivation.REFORMAT),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, Derivation.REFORMAT),
        ({"ImageType": ["DERIVED", "SECONDARY", "ENHANCED"]}, Derivation.ENHANCED),
        ({"ImageType": ["DERIVED", "SECONDARY", "CAD"]}, Derivation.ANALYSIS),
        ({"ImageType": ["DERIVED", "SECONDARY", "OVERLAY"]}, Derivation.OVERLAY),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, Derivation.SCREENSHOT),
        ({"DerivationDescription": "Bone suppression 2.1"}, Derivation.BONE),
        ({"DerivationDescription": "dual-energy subtraction"}, Derivation.DUAL_ENERGY),
        ({"DerivationCodeSequence": coded("113062")}, Derivation.SUBTRACTION),
        ({"DerivationCodeSequence": coded("113072")}, Derivation.REFORMAT),
        ({"SeriesDescription": "Chest PA bone suppressed"}, Derivation.BONE),
        ({"SeriesDescription": "AI heat map"}, Derivation.ANALYSIS),
        ({"SeriesDescription": "CAD", "SOPClassUID": CAPTURE}, Derivation.ANALYSIS),
        ({"ConversionType": "SD", "SOPClassUID": CAPTURE}, Derivation.DOCUMENT),
        ({"ConversionType": "DRW", "SOPClassUID": CAPTURE}, Derivation.DOCUMENT),
        ({"SourceImageSequence": coded("1"), "SOPClassUID": CAPTURE}, Derivation.COPY),
    ],
)
def test_a_picture_computed_from_a_film_says_so(elements: dict[str, Any], derivation: Derivation) -> None:
    assert facts(**elements).derivation is derivation


@pytest.mark.parametrize(
    "elements",
    [
        {},
        # all of these are of real films
        {"ImageType": ["DERIVED", "PRIMARY"]},
        {"ImageType": ["DERIVED", "SECONDARY"], "ConversionType": "DF", "SOPClassUID": CAPTURE},
        {"ImageType": ["DERIVED", "SECONDARY", "", "CSA RESAMPLED"]},
        {"ImageType": ["DERIVED", "PRIMARY", "POST_PROCESSED"]},
        {"ImageType": "DERIVED"},
        {"ConversionType": "WSD"},
        {"ConversionType": "WSD", "SOPClassUID": CAPTURE},
        {"DerivationDescription": "JPEG 2000 irreversible (lossy) 10:1"},
        {"DerivationCodeSequence": coded("113040")},
        {"DerivationCodeSequence": coded("113086")},
        {"SourceImageSequence": coded("1")},
        {"SourceImageSequence": Sequence(), "SOPClassUID": CAPTURE},
        {"SeriesDescription": "Hx CAD"},
        {"StudyDescription": "CAD, chest"},
        {"SeriesDescription": "Dual energy chest PA"},
        {"SeriesDescription": "Bone survey"},
    ],
)
def test_usual_values_of_real_films_are_not_evidence(elements: dict[str, Any]) -> None:
    assert facts(**elements).derivation is Derivation.NONE


@pytest.mark.parametrize(("value", "is_burned_in"), [("YES", True), ("yes", True), ("NO", False), ("", False)])
def test_burned_in_annotation_is_what_its_element_says(value: str, is_burned_in: bool) -> None:
    assert facts(BurnedInAnnotation=value).burned_in_annotation is is_burned_in


@pytest.mark.parametrize(
    ("photometric", "sign", "shape", "slope", "in_doubt"),
    [
        ("MONOCHROME2", -1, "IDENTITY", "1", False),
        ("MONOCHROME1", 1, "INVERSE", "1", False),
        ("MONOCHROME2", 1, "IDENTITY", "1", True),
        ("MONOCHROME1", -1, "INVERSE", "1", True),
        ("MONOCHROME2", 1, "IDENTITY", "-1", False),
        ("MONOCHROME1", 1, "IDENTITY", "1", True),
        ("MONOCHROME2", -1, "INVERSE", "1", True),
        ("MONOCHROME1", None, None, None, False),
        ("MONOCHROME2", None, None, "garbage", False),
        ("RGB", 1, "IDENTITY", None, False),
    ],
)
def test_the_polarity_is_in_doubt_where_tags_contradict_each_other(
    photometric: str,
    sign: int | None,
    shape: str | None,
    slope: str | None,
    in_doubt: bool,
    tmp_path: Path,
) -> None:
    ds = film(PhotometricInterpretation=photometric, PixelIntensityRelationshipSign=sign, PresentationLUTShape=shape)
    if slope is not None:
        ds.add_new("RescaleSlope", "LO", slope)
    assert read_facts(save(ds, tmp_path)).polarity_in_doubt is in_doubt


def test_facts_from_a_file_are_those_of_the_data_set_in_memory(tmp_path: Path) -> None:
    ds = film(
        ImageType=["DERIVED", "PRIMARY", "BONE"],
        PatientSpeciesCodeSequence=coded("L-80700"),
        QualityControlImage="YES",
        BurnedInAnnotation="YES",
        PixelIntensityRelationshipSign=1,
        ViewCodeSequence=coded("X1", "postero-anterior"),
    )
    assert read_facts(save(ds, tmp_path)) == facts_of(ds)
    assert facts_of(ds).species is Species.ANIMAL


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("CR", "CR"),
        ("dx", "DX"),
        ("MG", "MG"),
        ("XRAY", "RG"),
        ("DR", "RG"),
        ("SMITH", "OT"),
        ("JOHN SMITH", "OT"),
        ("", ""),
    ],
)
def test_of_the_modality_only_a_defined_term_is_kept(stated: str, kept: str) -> None:
    assert facts(Modality=stated).modality == kept


@pytest.mark.parametrize("name", ["SMITH", "SMITH JOHN", "SMITH 19701231", "CHEST SMITH", "PA SMITH"])
def test_a_name_in_capitals_in_a_code_is_not_kept(name: str) -> None:
    found = facts(Modality=name, BodyPartExamined=name, ViewPosition=name, PresentationIntentType=name)
    kept = (found.modality, found.body_part, found.view_position, found.presentation_intent)
    assert not any("SMITH" in text or "1970" in text for text in kept)


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "AP OBLIQUE"}, "LATERAL_VIEW"),
        ({"ViewPosition": "LAO"}, "LATERAL_VIEW"),
        ({"ViewPosition": "PA LAT"}, "VIEW_UNKNOWN"),
        ({"ViewPosition": "postero-anterior"}, None),
        ({"ViewPosition": "", "ViewCodeSequence": coded("L1", "antero-posterior")}, None),
        ({"ViewPosition": "", "ViewCodeSequence": coded("L2", "Left lateral")}, "LATERAL_VIEW"),
        (
            {"ViewPosition": "", "ViewCodeSequence": coded("L3", "", ViewModifierCodeSequence=coded("L4", "oblique"))},
            "LATERAL_VIEW",
        ),
    ],
)
def test_the_meaning_of_a_code_or_modifier_may_name_the_view(elements: dict[str, Any], view: str | None) -> None:
    verdict = judge(GateInput(facts(**elements), AgeRange(1, 5)))
    assert (verdict.reason or next(iter(verdict.flags), None)) == view


def test_the_meaning_of_a_private_code_names_the_region() -> None:
    assert facts(BodyPartExamined="", AnatomicRegionSequence=coded("X17", "Chest wall, thorax")).body_part == "CHEST"
    assert facts(BodyPartExamined="", AnatomicRegionSequence=coded("X18", "Left knee")).body_part == "OTHER"
