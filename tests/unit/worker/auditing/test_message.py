"""The messages of the audit trail: the XML of PS3.15 A.5.1, the header of RFC 5424, the frame of RFC 5425."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.audit_schema import check_message, details
from tests.support.syslog import Received, frames
from worker.auditing.message import audit_message, framed, parts_of, syslog_message
from worker.db.audit.codes import CODES, MEANINGS, Act

AT = datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)


def event(act: Act = Act.STUDY_RECEIVED, **changes: Any) -> dict[str, Any]:
    code = CODES[act]
    row = {
        "event_id": 7,
        "at": AT,
        "act": act.value,
        "event_code": code.event,
        "event_type_code": code.type,
        "action": code.action.value,
        "outcome": 0,
        "who": "PACS",
        "from_where": "10.0.0.1",
        "study_uid": "1.2.3",
        "side": 0,
        "patient_id": "P1",
        "issuer_of_patient_id": "",
        "patient_key": "k" * 64,
        "sop_uid": "1.2.3.4",
        "detail": '{"sop_class":"1.2.840","revision":1}',
    }
    return row | changes


def xml(row: dict[str, Any]) -> ET.Element:
    root = ET.fromstring(audit_message(row, "host"))
    check_message(root)
    return root


@pytest.mark.parametrize("act", list(Act))
@pytest.mark.parametrize("about", [{}, {"study_uid": "", "sop_uid": "", "patient_id": "", "patient_key": ""}])
def test_the_message_of_every_act_is_one_of_the_schema(act, about):
    root = xml(event(act, **about))
    identification = root.find("EventIdentification/EventID")
    assert identification is not None
    assert identification.attrib == {
        "csd-code": CODES[act].event,
        "codeSystemName": "DCM",
        "originalText": MEANINGS[CODES[act].event],
    }
    assert details(root)["event_id"] == "7"


def test_a_received_study_names_sender_study_patient_and_object():
    root = xml(event())
    sender, receiver = root.findall("ActiveParticipant")
    assert (sender.get("UserID"), sender.get("NetworkAccessPointID"), sender.get("NetworkAccessPointTypeCode")) == (
        "PACS",
        "10.0.0.1",
        "2",
    )
    assert [role.get("csd-code") for role in (*sender, *receiver)] == ["110153", "110152"]
    study, patient = root.findall("ParticipantObjectIdentification")
    assert (study.get("ParticipantObjectID"), patient.get("ParticipantObjectID")) == ("1.2.3", "P1")
    instance = study.find("ParticipantObjectDescription/SOPClass/Instance")
    assert instance is not None
    assert instance.get("UID") == "1.2.3.4"
    assert details(root) == {"event_id": "7", "sop_class": "1.2.840", "revision": "1"}


def test_a_patient_whose_study_is_erased_is_named_by_the_digest():
    patient = xml(event(patient_id=""))[-1]
    assert patient.get("ParticipantObjectID") == "k" * 64
    assert patient[0].get("codeSystemName") == "99AUSCULT"


def test_the_user_of_a_command_and_the_login_are_told_apart():
    participant = xml(event(Act.CONFLICT_RESOLVED, who="ada", from_where="eve@ward-3"))[1]
    assert participant.attrib == {
        "UserID": "ada",
        "AlternativeUserID": "eve",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "ward-3",
        "NetworkAccessPointTypeCode": "1",
    }


@pytest.mark.parametrize(("outcome", "pri"), [(0, 85), (4, 84), (12, 84)])
def test_the_header_is_that_of_rfc_5424_with_the_message_id_of_dicom(outcome, pri):
    message = syslog_message(event(outcome=outcome), "ward-3")
    assert message.startswith(
        b"<%d>1 2026-01-02T03:04:05.006000Z ward-3 auscult - DICOM+RFC3881 - \xef\xbb\xbf"
        b'<?xml version="1.0" encoding="UTF-8"?><AuditMessage>' % pri
    )
    assert b"\n" not in message
    read = Received.of(message)
    assert (read.pri, read.msgid, read.event_id) == (pri, "DICOM+RFC3881", 7)


def test_a_host_whose_name_does_not_fit_the_header_is_left_out():
    assert b"Z - auscult" in syslog_message(event(), "ä \n")


@given(st.text(st.characters(codec="utf-8")), st.dictionaries(st.text(), st.text()))
def test_no_text_of_a_sender_breaks_a_message_or_its_frame(who, detail):
    row = event(who=who, study_uid="1.2", detail=json.dumps(detail))
    data = framed(syslog_message(row)) * 2
    first, second = frames(data)
    assert first == second
    Received.of(first)


def test_the_longest_message_fits_the_size_that_receivers_must_take():
    row = event(detail=json.dumps({"x" * 10: "y" * 3900}), who="w" * 128, from_where="f" * 128)
    assert len(syslog_message(row)) < 32_768


def named(number: int, **changes: Any) -> dict[str, Any]:
    one = {"study_uid": f"1.2.{number}", "side": 0, "patient_id": f"P{number}", "patient_key": "k" * 64}
    return {**one, "issuer_of_patient_id": "", **changes}


def test_an_act_on_several_names_each_study_and_patient():
    row = event(Act.WORKLIST_SHOWN, study_uid="", sop_uid="", patient_id="", patient_key="")
    row["objects"] = [named(1), named(2, patient_id=""), named(3, patient_id="", patient_key="")]
    assert list(parts_of(row)) == [row]
    query, *others = xml(row).findall("ParticipantObjectIdentification")
    assert query.get("ParticipantObjectTypeCodeRole") == "24"
    assert [(one.get("ParticipantObjectTypeCodeRole"), one.get("ParticipantObjectID")) for one in others] == [
        ("3", "1.2.1"),
        ("1", "P1"),
        ("3", "1.2.2"),
        ("1", "k" * 64),
        ("3", "1.2.3"),
    ]
    assert details(xml(row))["event_id"] == "7"


@pytest.mark.parametrize("patient_id", ["P", "&" * 128, "\U0001f600" * 128])
def test_what_does_not_fit_one_message_goes_on_in_the_next_ones(patient_id):
    objects = [named(number, patient_id=patient_id) for number in range(150)]
    detail = json.dumps({"x": "y" * 3900})
    row = event(Act.RERUN_ORDERED, study_uid="", sop_uid="", detail=detail, who="w" * 128, objects=objects)
    found = list(parts_of(row))
    assert [one for part in found for one in part["objects"]] == objects
    assert max(len(syslog_message(part)) for part in found) < 32_768
    numbers = [(json.loads(part["detail"])["part"], json.loads(part["detail"])["parts"]) for part in found]
    assert numbers == [(number, len(found)) for number in range(1, len(found) + 1)]
    assert len(found) > 1
    for part in found:
        assert details(xml(part))["event_id"] == "7"
