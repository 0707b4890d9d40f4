"""The schema of DICOM PS3.15 A.5.1.1 as far as Auscult's messages go: elements with their order and attributes."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
_ANY = r"(?s).*"
_CODED = {
    "csd-code": (True, r".+"),
    "codeSystemName": (True, r".+"),
    "displayName": (False, _ANY),
    "originalText": (True, r".+"),
}
_BASE64 = r"[A-Za-z0-9+/]*=*"
_UID = r"[0-9.]+"

#: For each element: its children as a pattern over their names, each followed by a space, and its attributes: whether each
#: is required, and the pattern of its value.
SCHEMA: dict[str, tuple[str, dict[str, tuple[bool, str]]]] = {
    "AuditMessage": (
        "EventIdentification (ActiveParticipant )+AuditSourceIdentification (ParticipantObjectIdentification )*",
        {},
    ),
    "EventIdentification": (
        "EventID (EventTypeCode )*(EventOutcomeDescription )?",
        {
            "EventActionCode": (False, "[CRUDE]"),
            "EventDateTime": (True, _MOMENT),
            "EventOutcomeIndicator": (True, "0|4|8|12"),
        },
    ),
    "EventID": ("", _CODED),
    "EventTypeCode": ("", _CODED),
    "ActiveParticipant": (
        "(RoleIDCode )*(MediaIdentifier )?",
        {
            "UserID": (True, r".+"),
            "AlternativeUserID": (False, r".+"),
            "UserName": (False, _ANY),
            "UserIsRequestor": (True, "true|false"),
            "NetworkAccessPointID": (False, r".+"),
            "NetworkAccessPointTypeCode": (False, "[1-5]"),
        },
    ),
    "RoleIDCode": ("", _CODED),
    "AuditSourceIdentification": (
        "(AuditSourceTypeCode )*",
        {"AuditEnterpriseSiteID": (False, r".+"), "AuditSourceID": (True, r".+")},
    ),
    "AuditSourceTypeCode": ("", {"csd-code": (True, "[1-9]")}),
    "ParticipantObjectIdentification": (
        (
            "ParticipantObjectIDTypeCode (ParticipantObjectName |ParticipantObjectQuery )(ParticipantObjectDetail )*"
            "(ParticipantObjectDescription )*"
        ),
        {
            "ParticipantObjectID": (True, r".+"),
            "ParticipantObjectTypeCode": (False, "[1-4]"),
            "ParticipantObjectTypeCodeRole": (False, "[1-9]|1[0-9]|2[0-6]"),
            "ParticipantObjectDataLifeCycle": (False, "[1-9]|1[0-5]"),
            "ParticipantObjectSensitivity": (False, _ANY),
        },
    ),
    "ParticipantObjectIDTypeCode": ("", _CODED),
    "ParticipantObjectName": ("", {}),
    "ParticipantObjectQuery": ("", {}),
    "ParticipantObjectDetail": ("", {"type": (True, r".+"), "value": (True, _BASE64)}),
    "ParticipantObjectDescription": ("(MPPS )*(Accession )*(SOPClass )*", {}),
    "SOPClass": ("(Instance )*", {"UID": (False, _UID), "NumberOfInstances": (True, r"\d+")}),
    "Instance": ("", {"UID": (True, _UID)}),
}


def check_message(root: ET.Element) -> None:
    """Fail where a message is not one of the schema."""
    assert root.tag == "AuditMessage"
    for element in root.iter():
        assert element.tag in SCHEMA, element.tag
        children, attributes = SCHEMA[element.tag]
        found = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(children, found), f"{element.tag}: {found}"
        assert set(element.attrib) <= set(attributes), f"{element.tag}: {element.attrib}"
        for name, (is_required, pattern) in attributes.items():
            value = element.get(name)
            assert value is not None or not is_required, f"{element.tag} has no {name}"
            assert value is None or re.fullmatch(pattern, value), f"{element.tag} {name}: {value}"


def details(root: ET.Element) -> dict[str, str]:
    """The details of all objects of a message, decoded."""
    return {
        detail.attrib["type"]: base64.b64decode(detail.attrib["value"]).decode()
        for detail in root.iter("ParticipantObjectDetail")
    }
