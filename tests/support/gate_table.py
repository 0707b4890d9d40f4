"""The gate on the headers of 7,469 real chest films, counted: the table that stands in CONFORMANCE.md."""

from __future__ import annotations

import ast
import csv
import dataclasses
import gzip
from collections import Counter
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_io.gate.judge import AgeRange, GateInput, Policies, RuleStage, judge
from dicom_io.gate.rules import RULES
from dicom_io.header.reader import facts_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dicom_io.header.facts import GateFacts

#: The model's ages, and a reading of "the age rule is off": every age is taken.
CHILDREN = AgeRange(1, 5)
NO_AGE_RULE = Policies.parse("AGE_OUT_OF_RANGE=accept,AGE_UNKNOWN=accept")
#: The headers have no PatientAge and their dates are shifted at random; all are adults, the youngest 17.
ADULT_MONTHS = 17 * 12
EXPLICIT_LE = "1.2.840.10008.1.2.1"
_TEXTS = {
    "SOP Class UID": "SOPClassUID",
    "Modality": "Modality",
    "Body Part Examined": "BodyPartExamined",
    "View Position": "ViewPosition",
    "Presentation Intent Type": "PresentationIntentType",
    "Burned In Annotation": "BurnedInAnnotation",
    "Conversion Type": "ConversionType",
    "Quality Control Image": "QualityControlImage",
    "Photometric Interpretation": "PhotometricInterpretation",
    "Presentation LUT Shape": "PresentationLUTShape",
    "Rescale Slope": "RescaleSlope",
    "Number of Frames": "NumberOfFrames",
}
_LISTS = {"Image Type": "ImageType", "Patient Orientation": "PatientOrientation"}
_NUMBERS = {"Rows": "Rows", "Columns": "Columns", "Pixel Intensity Relationship Sign": "PixelIntensityRelationshipSign"}


@dataclasses.dataclass(frozen=True, slots=True)
class RealFilm:
    """The facts of one real film, and its study."""

    study_uid: str
    facts: GateFacts


def real_films(data: Path) -> list[RealFilm]:
    """Every film of the collection; pixels and coding, which the table does not tell, are taken as good."""
    with gzip.open(data / "real_headers" / "nlmcxr_dicom_metadata.csv.gz", "rt", encoding="utf-8") as file:
        return [_film(row) for row in csv.DictReader(file)]


def _film(row: dict[str, str]) -> RealFilm:
    facts = dataclasses.replace(
        facts_of(data_set(row)), has_pixel_data=True, transfer_syntax_uid=EXPLICIT_LE, age_months=ADULT_MONTHS
    )
    return RealFilm(row["Study Instance UID"], facts)


def data_set(row: dict[str, str]) -> Dataset:
    """The elements of a row that the gate looks at."""
    ds = Dataset()
    for column, keyword in _TEXTS.items():
        setattr(ds, keyword, row[column])
    for column, keyword in _LISTS.items():
        text = row[column]
        setattr(ds, keyword, ast.literal_eval(text) if text.startswith("[") else text)
    for column, keyword in _NUMBERS.items():
        if row[column]:
            setattr(ds, keyword, int(row[column]))
    if row["Breed Registration Sequence"]:
        ds.BreedRegistrationSequence = Sequence()
    for column, keyword in (
        ("Anatomic Region Sequence", "AnatomicRegionSequence"),
        ("View Code Sequence", "ViewCodeSequence"),
    ):
        setattr(ds, keyword, Sequence(_items(row[column])))
    return ds


def _items(text: str) -> Iterable[Dataset]:
    """The code of a sequence's item, out of the text that pydicom prints of it."""
    _, found, rest = text.partition("Code Value                          SH: '")
    if found:
        item = Dataset()
        item.CodeValue = rest.partition("'")[0]
        yield item


def table(films: list[RealFilm]) -> list[str]:
    """The lines of the table in Markdown: what each rule does alone, and which rule speaks first."""
    alone = {rule.reason: [film for film in films if rule.applies(_subject(film))] for rule in _HEADER_RULES}
    first, without_age = _first(films, Policies()), _first(films, NO_AGE_RULE)
    lines = [
        "| rule | speaks against alone: films (studies) | first refusal: films | first refusal, age rule off: films |",
        "| --- | --- | --- | --- |",
    ]
    for rule in _HEADER_RULES:
        found = alone[rule.reason]
        studies = len({film.study_uid for film in found})
        lines.append(
            f"| {rule.reason} | {len(found)} ({studies}) | {first[rule.reason]} | {without_age[rule.reason]} |"
        )
    judged = len({film.study_uid for film in films if not _refused(film, NO_AGE_RULE)})
    lines.append(f"| judged | | {first[None]} | {without_age[None]} of {len(films)} |")
    lines.append(f"| studies with a judged film | | 0 | {judged} of {len({film.study_uid for film in films})} |")
    return lines


_HEADER_RULES = [rule for rule in RULES if rule.stage is RuleStage.HEADER]


def _subject(film: RealFilm) -> GateInput:
    return GateInput(film.facts, CHILDREN)


def _first(films: list[RealFilm], policies: Policies) -> Counter[str | None]:
    return Counter(_refused(film, policies) for film in films)


def _refused(film: RealFilm, policies: Policies) -> str | None:
    return judge(_subject(film), RuleStage.HEADER, policies).reason
