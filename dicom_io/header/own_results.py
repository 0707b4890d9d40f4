"""Objects that an Auscult has made of films, told from all others by what stands in their header.

Each names the model as Contributing Equipment (0018,A001) with a Device UID (0018,1002) that is computed from
manufacturer, model name and version in the same item. So an object is recognised without a list of models, also one
that another Auscult made, and one whose patient or study elements an archive has changed.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from dicom_io.header.file_meta import IMPLEMENTATION_CLASS_UID

if TYPE_CHECKING:
    from dicom_io.header.elements import Elements

__all__ = ["MANUFACTURER", "OWN_RESULT_TAGS", "device_uid", "is_own_result", "uid_of"]

#: Manufacturer (0008,0070) of every model and of the objects that Auscult makes of its results.
MANUFACTURER = "Auscult"

_CONTRIBUTING_EQUIPMENT = 0x0018A001
_MANUFACTURER, _MODEL_NAME, _SOFTWARE_VERSIONS, _DEVICE_UID = 0x00080070, 0x00081090, 0x00181020, 0x00181002
_LIMIT = 64
#: More equipment than has ever touched an object.
_MAX_ITEMS = 100
_NAMESPACE = uuid.UUID(int=int(IMPLEMENTATION_CLASS_UID.rpartition(".")[2]))

#: The elements that `is_own_result` reads.
OWN_RESULT_TAGS = frozenset({_CONTRIBUTING_EQUIPMENT})


def uid_of(*parts: str) -> str:
    """Compute a UID under 2.25 (PS3.5 B.2) from what names a thing: a name-based UUID (RFC 9562, version 5).

    Parameters
    ----------
    *parts : str
        The first says what kind of thing it is; none may hold a line feed.

    Returns
    -------
    str
        At most 44 characters; the same parts always give the same UID.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(10).join(parts)).int}"


def device_uid(model_name: str, software_versions: str) -> str:
    """The Device UID (0018,1002) of a model; another model or another version has another one.

    Parameters
    ----------
    model_name, software_versions : str
        Manufacturer's Model Name (0008,1090) and Software Versions (0018,1020), up to 64 characters each.
    """
    return uid_of("device", MANUFACTURER, model_name, software_versions)


def is_own_result(elements: Elements) -> bool:
    """Whether an object was made by Auscult of its own result.

    Parameters
    ----------
    elements : Elements
        The header.
    """
    return any(_is_ours(item) for item in elements.items(_CONTRIBUTING_EQUIPMENT, _MAX_ITEMS))


def _is_ours(item: Elements) -> bool:
    uid = item.uid(_DEVICE_UID)
    if not uid or item.text(_MANUFACTURER, _LIMIT) != MANUFACTURER:
        return False
    return uid == device_uid(item.text(_MODEL_NAME, _LIMIT), item.text(_SOFTWARE_VERSIONS, _LIMIT))
