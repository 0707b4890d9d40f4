"""Which part of the body a film shows, and from where: what the header's codes, words and orientation say together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.header.terms import (
    Region,
    View,
    body_part_of,
    region_of_body_part,
    region_of_codes,
    region_of_description,
    view_of,
    view_of_codes,
    view_of_orientation,
    view_of_words,
)

if TYPE_CHECKING:
    from dicom_io.header.elements import Elements

__all__ = ["PLACE_TAGS", "body_part", "view_position"]

_DESCRIPTION_LIMIT = 255
_BODY_PART, _REGION_SEQUENCE = 0x00180015, 0x00082218
_VIEW_POSITION, _VIEW_SEQUENCE, _ORIENTATION = 0x00185101, 0x00540220, 0x00200020
_VIEW_MODIFIERS = 0x00540222
_CODE_VALUE, _LONG_CODE_VALUE, _CODE_MEANING = 0x00080100, 0x00080119, 0x00080104
#: The elements that these functions read.
PLACE_TAGS = frozenset({_BODY_PART, _REGION_SEQUENCE, _VIEW_POSITION, _VIEW_SEQUENCE, _ORIENTATION})


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
