"""Which typed texts name a person, and that every table which names a study is known."""

from __future__ import annotations

import pytest
from sqlalchemy import Text

from worker.db.retention import tables
from worker.db.retention.people import Person
from worker.db.retention.texts import TYPED, words_of
from worker.db.schema.study import Base, Study

ANNA = Person("0815", ("",))


@pytest.mark.parametrize(
    "text",
    ["wrong for 0815", "(0815)", "Muster Anna", "it is MUSTER, Anna", "anna muster called", "Muster^Anna"],
)
def test_a_text_with_the_number_or_both_names_names_the_person(text):
    pattern = words_of(ANNA, ["Muster^Anna^^Dr"])
    assert pattern is not None
    assert pattern.search(text)


@pytest.mark.parametrize("text", ["", "batch 10815", "08151", "Anna", "a muster", "annamuster"])
def test_a_text_with_a_part_of_them_does_not(text):
    pattern = words_of(ANNA, ["Muster^Anna"])
    assert pattern is not None
    assert not pattern.search(text)


def test_a_short_number_names_nobody_and_neither_does_a_name_alone():
    assert words_of(Person("7", ("",)), ["Muster", "", "=X"]) is None


def test_every_reason_that_somebody_types_is_known():
    typed = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Text) and "why" in column.name
    }
    assert {(table.__tablename__, column) for table, column in TYPED} == typed


def test_every_table_that_names_a_study_is_deleted_and_shown_with_it():
    """A new table with a foreign key to one of these fails this until `tables` names it."""
    reached = {Study.__tablename__}
    while True:
        new = {
            table.name
            for table in Base.metadata.tables.values()
            if {key.column.table.name for key in table.foreign_keys} & reached
        } - reached
        if not new:
            break
        reached |= new
    listed = [table.__tablename__ for table, _ in tables.of_studies([1])]
    assert set(listed) == reached - {"worker"}
    order = {name: number for number, name in enumerate(listed)}
    for name in listed:
        for key in Base.metadata.tables[name].foreign_keys:
            target = key.column.table.name
            assert target == name or target not in order or order[name] < order[target]


#: Columns that hold names, numbers or birth dates of patients, and the rule by which an erasure reaches them.
OF_PATIENTS = {
    ("study", "patient_id"),
    ("study", "patient_name"),
    ("study", "patient_birth_date"),
    ("study", "patient_sex"),
    ("study", "issuer_of_patient_id"),
    ("image", "patient_key"),
    ("image", "issuer_of_patient_id"),
    ("study_header", "patient_id"),
    ("study_header", "patient_key"),
    ("study_header", "patient_name"),
    ("study_header", "patient_birth_date"),
    ("study_header", "patient_sex"),
    ("study_header", "issuer_of_patient_id"),
    # Deleted with the last row of the person.
    ("patient_merge", "old_patient_id"),
    ("patient_merge", "new_patient_id"),
    ("rejection_note", "patient_key"),
    ("rejection_note", "issuer_of_patient_id"),
    # Digests alone; its rows go by a floor of their own.
    ("audit_event", "patient_key"),
    ("audit_object", "patient_key"),
    # A yes or no.
    ("destination", "names_patient"),
}


def test_no_other_column_is_about_a_patient():
    assert {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if "patient" in column.name or "birth" in column.name
    } == OF_PATIENTS
