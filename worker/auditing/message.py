"""An audit event as the XML of DICOM PS3.15 A.5.1, and as a syslog message of A.6 (RFC 5424)."""

from __future__ import annotations

import base64
import json
import re
import socket
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from worker.db.audit.codes import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.db.schema.views import Row

#: Facility 10, security and authorisation messages; severity 5, normal but significant, and 4, warning, for failures.
PRI_SUCCESS, PRI_FAILURE = 85, 84
MSGID = "DICOM+RFC3881"
APP_NAME = "auscult"
#: Octets of a message for what it names: PS3.15 A.6 has receivers take 32,768, and the rest needs less than 8,000.
OBJECTS_MAX = 24_000
BOM = b"\xef\xbb\xbf"
#: Code scheme designator of Auscult's own names of acts.
OWN_SCHEME = "99AUSCULT"

_APPLICATION = ("110150", "Application")
_DESTINATION = ("110152", "Destination Role ID")
_SOURCE = ("110153", "Source Role ID")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ADDRESS = re.compile(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.%\w]*")
#: ParticipantObjectTypeCodeRole of what an event without a study is about, by EventID: security resource, query, job.
_ROLES = {"110113": "13", "110101": "13", "110112": "24"}
_JOB = "20"
_PRINTABLE = re.compile(r"[^\x21-\x7e]")


def syslog_message(event: Row, host: str = "") -> bytes:
    """One message with the header of RFC 5424 and the XML as its text; `host`: name of this machine."""
    pri = PRI_SUCCESS if event["outcome"] == 0 else PRI_FAILURE
    name = _PRINTABLE.sub("", host or socket.gethostname())[:255] or "-"
    header = f"<{pri}>1 {_moment(event['at'])} {name} {APP_NAME} - {MSGID} - "
    return header.encode("ascii") + BOM + audit_message(event, name)


def framed(message: bytes) -> bytes:
    """The frame of RFC 5425 section 4.3: the length in octets, a space, the message."""
    return b"%d %b" % (len(message), message)


def audit_message(event: Row, host: str) -> bytes:
    """The XML of an event in UTF-8: a row of the view `audit`, with the `objects` that it names beside its own study."""
    root = ET.Element("AuditMessage")
    _identification(root, event)
    _participants(root, event, host)
    source = ET.SubElement(root, "AuditSourceIdentification", AuditSourceID=_text(f"{APP_NAME}@{host}"))
    # An application server process.
    ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})
    detail = json.loads(event["detail"])
    if event["study_uid"]:
        _study(root, event, detail)
    if event["patient_id"] or event["patient_key"]:
        _patient(root, event)
    if not event["study_uid"]:
        _subject(root, event, detail)
    for named in event.get("objects", ()):
        _named(root, event, named)
    # One line: receivers that write lines would have to escape ElementTree's own declaration.
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()


def parts_of(event: Row) -> Iterator[Row]:
    """An event as one row for each message: what it names is split, so that a message fits what receivers must take.

    Several rows are numbered in their details, as `part` of `parts`; everything else is the same in each.
    """
    blocks = _blocks(event)
    if len(blocks) <= 1:
        yield event
        return
    detail = json.loads(event["detail"])
    for number, block in enumerate(blocks, start=1):
        numbered = json.dumps({**detail, "part": number, "parts": len(blocks)}, separators=(",", ":"))
        yield {**event, "detail": numbered, "objects": block}


def _blocks(event: Row) -> list[list[Row]]:
    """What an event names, in blocks whose XML has at most `OBJECTS_MAX` octets; a single one is never that long."""
    blocks: list[list[Row]] = []
    room = 0
    for named in event.get("objects", ()):
        root = ET.Element("_")
        _named(root, event, named)
        size = len(ET.tostring(root, encoding="unicode").encode())
        if not blocks or size > room:
            blocks.append([])
            room = OBJECTS_MAX
        blocks[-1].append(named)
        room -= size
    return blocks


def _identification(root: ET.Element, event: Row) -> None:
    element = ET.SubElement(
        root,
        "EventIdentification",
        EventActionCode=event["action"],
        EventDateTime=_moment(event["at"]),
        EventOutcomeIndicator=str(event["outcome"]),
    )
    _coded(element, "EventID", event["event_code"], _meaning(event["event_code"]))
    if event["event_type_code"]:
        _coded(element, "EventTypeCode", event["event_type_code"], _meaning(event["event_type_code"]))
    _coded(element, "EventTypeCode", event["act"], event["act"].replace("_", " ").lower(), OWN_SCHEME)


def _participants(root: ET.Element, event: Row, host: str) -> None:
    login, _, place = event["from_where"].rpartition("@")
    is_process = event["event_code"] == "110100"
    is_transfer = event["event_code"] == "110104"
    who = ET.SubElement(root, "ActiveParticipant", UserID=_text(event["who"] or login or "-"))
    if login:
        who.set("AlternativeUserID", _text(login))
    who.set("UserIsRequestor", "false" if is_process else "true")
    if place:
        who.set("NetworkAccessPointID", _text(place))
        who.set("NetworkAccessPointTypeCode", "2" if _ADDRESS.fullmatch(place) else "1")
    if is_process or is_transfer:
        _coded(who, "RoleIDCode", *(_APPLICATION if is_process else _SOURCE))
    if is_process:
        return
    own = ET.SubElement(root, "ActiveParticipant", UserID=APP_NAME, UserIsRequestor="false")
    own.set("NetworkAccessPointID", _text(host))
    own.set("NetworkAccessPointTypeCode", "1")
    _coded(own, "RoleIDCode", *(_DESTINATION if is_transfer else _APPLICATION))


def _study(root: ET.Element, event: Row, detail: dict[str, Any]) -> None:
    study = _object(root, event["study_uid"], type_code="2", role="3")
    _coded(study, "ParticipantObjectIDTypeCode", "110180", "Study Instance UID")
    ET.SubElement(study, "ParticipantObjectName").text = _text(event["act"])
    _details(study, {"event_id": event["event_id"], **detail})
    if event["sop_uid"]:
        description = ET.SubElement(study, "ParticipantObjectDescription")
        sop_class = ET.SubElement(description, "SOPClass", NumberOfInstances="1")
        if detail.get("sop_class"):
            sop_class.set("UID", _text(str(detail["sop_class"])))
        ET.SubElement(sop_class, "Instance", UID=_text(event["sop_uid"]))


def _named(root: ET.Element, event: Row, named: Row) -> None:
    """A study with its patient that the event names beside its own."""
    if named["study_uid"]:
        study = _object(root, named["study_uid"], type_code="2", role="3")
        _coded(study, "ParticipantObjectIDTypeCode", "110180", "Study Instance UID")
        ET.SubElement(study, "ParticipantObjectName").text = _text(event["act"])
    if named["patient_id"] or named["patient_key"]:
        _patient(root, named)


def _patient(root: ET.Element, event: Row) -> None:
    patient = _object(root, event["patient_id"] or event["patient_key"], type_code="1", role="1")
    if event["patient_id"]:
        _coded(patient, "ParticipantObjectIDTypeCode", "2", "Patient Number", "RFC-3881")
    else:
        _coded(patient, "ParticipantObjectIDTypeCode", "PATIENT_KEY", "SHA-256 of the patient's identity", OWN_SCHEME)
    # The schema asks for a name or a query; a patient's name is not in the trail.
    ET.SubElement(patient, "ParticipantObjectName").text = _text(event["patient_id"] or "-")


def _subject(root: ET.Element, event: Row, detail: dict[str, Any]) -> None:
    """What an event is about that names no study."""
    role = _ROLES.get(event["event_code"], _JOB)
    subject = _object(root, f"urn:auscult:audit:{event['event_id']}", type_code="2", role=role)
    _coded(subject, "ParticipantObjectIDTypeCode", "12", "URI", "RFC-3881")
    if event["event_code"] == "110112":
        query = json.dumps(detail, sort_keys=True)
        ET.SubElement(subject, "ParticipantObjectQuery").text = base64.b64encode(query.encode()).decode("ascii")
    else:
        is_log = event["event_code"] == "110101"
        ET.SubElement(subject, "ParticipantObjectName").text = "Security Audit Log" if is_log else _text(event["act"])
    _details(subject, {"event_id": event["event_id"], **detail})


def _object(root: ET.Element, name: str, *, type_code: str, role: str) -> ET.Element:
    return ET.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_text(name),
        ParticipantObjectTypeCode=type_code,
        ParticipantObjectTypeCodeRole=role,
    )


def _details(element: ET.Element, values: dict[str, Any]) -> None:
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
        ET.SubElement(element, "ParticipantObjectDetail", type=_text(name), value=encoded)


def _coded(element: ET.Element, name: str, code: str, meaning: str, scheme: str = "DCM") -> None:
    values = {"csd-code": _text(code), "codeSystemName": scheme, "originalText": _text(meaning)}
    ET.SubElement(element, name, values)


def _meaning(code: str) -> str:
    return MEANINGS.get(code, code)


def _text(value: str) -> str:
    """The text without characters that XML 1.0 cannot hold."""
    return _NOT_IN_XML.sub("?", value)


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
