"""The device that Auscult is in a DICOM object: its manufacturer, the Device UID of each model, and UIDs of its objects.

A Device UID is computed from manufacturer, model name and version, which stand beside it wherever it stands. So an object of
our own is told from all others without a list of models, also one that another Auscult made.
"""

from __future__ import annotations

import uuid

#: Manufacturer (0008,0070) of every model and of the objects that Auscult makes of its results.
MANUFACTURER = "Auscult"

_NAMESPACE = uuid.UUID("6f2c1d8e-5f0b-4c0e-9d57-0b7a3c1e42d8")


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
