"""The rule of a rejection note: followed for the object that it names alone, whatever the order of the images."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.header.rejection import RejectionTitle
from worker.addresses import listed_sources
from worker.db.identity.rejections import (
    HeldImage,
    NoteTerms,
    ObjectIdentity,
    RejectionPolicy,
    verdicts,
)
from worker.db.identity.rules import Patient
from worker.db.schema.states import NoteEffect, NoteVerdict

ANN, BEN = Patient("a", ""), Patient("b", "")
NOTE = NoteTerms("1.2", ANN, at_ms=100, until_ms=200)
NAMED = ObjectIdentity("1.2", "1.2.3", "1.1")
FILM = HeldImage(1, ObjectIdentity("1.2", "1.2.3", "1.1"), ANN, first_ms=50, last_ms=50)


def of_film(note=NOTE, named=NAMED, restores=False, **film) -> NoteVerdict:
    return verdicts(note, named, [replace(FILM, **film)], restores=restores)[1]


CASES = [
    ({}, NoteVerdict.APPLIED),
    ({"patient": BEN}, NoteVerdict.PATIENT_DIFFERS),
    ({"patient": Patient()}, NoteVerdict.PATIENT_DIFFERS),
    ({"patient": Patient("a", "X")}, NoteVerdict.APPLIED),
    ({"identity": replace(NAMED, study_uid="1.3")}, NoteVerdict.STUDY_DIFFERS),
    ({"identity": replace(NAMED, series_uid="1.3")}, NoteVerdict.SERIES_DIFFERS),
    ({"identity": replace(NAMED, sop_class_uid="1.3")}, NoteVerdict.CLASS_DIFFERS),
    ({"named": ObjectIdentity("1.2")}, NoteVerdict.APPLIED),
    ({"named": replace(NAMED, study_uid="1.3")}, NoteVerdict.STUDY_DIFFERS),
    ({"note": replace(NOTE, patient=Patient("a", "Y")), "patient": Patient("a", "X")}, NoteVerdict.PATIENT_DIFFERS),
    ({"first_ms": 200, "last_ms": 200}, NoteVerdict.APPLIED),
    ({"first_ms": 201, "last_ms": 201}, NoteVerdict.TOO_LATE),
    ({"last_ms": 150}, NoteVerdict.APPLIED),
    ({"last_ms": 150, "restores": True}, NoteVerdict.RESTORED),
    ({"last_ms": 100, "restores": True}, NoteVerdict.APPLIED),
    ({"first_ms": 150, "last_ms": 150, "restores": True}, NoteVerdict.APPLIED),
    ({"first_ms": 150, "last_ms": 151, "restores": True}, NoteVerdict.RESTORED),
]


@pytest.mark.parametrize(("case", "verdict"), CASES)
def test_a_note_is_followed_for_the_object_that_it_names(case, verdict):
    assert of_film(**case) is verdict


IMAGES = st.lists(
    st.builds(
        lambda patient, study, series, first, more: HeldImage(
            0, ObjectIdentity(study, series, "1.1"), patient, first, first + more
        ),
        st.sampled_from([ANN, BEN, Patient()]),
        st.sampled_from(["1.2", "1.3"]),
        st.sampled_from(["1.2.3", "1.2.4"]),
        st.integers(0, 300),
        st.integers(0, 300),
    ),
    max_size=5,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(images=IMAGES, restores=st.booleans(), seed=st.integers(0, 9))
def test_the_order_of_images_changes_nothing_and_no_other_image_is_withdrawn(images, restores, seed):
    numbered = [replace(image, image_id=number) for number, image in enumerate(images)]
    found = verdicts(NOTE, NAMED, numbered, restores=restores)
    assert found == verdicts(NOTE, NAMED, random.Random(seed).sample(numbered, len(numbered)), restores=restores)
    assert found.keys() == {image.image_id for image in numbered}
    for image in numbered:
        is_named = image.identity == NAMED and image.patient == ANN
        assert (found[image.image_id] in (NoteVerdict.APPLIED, NoteVerdict.RESTORED, NoteVerdict.TOO_LATE)) == is_named


@pytest.mark.parametrize(
    ("entry", "aet", "peer", "is_listed"),
    [
        ("PACS@10.0.0.0/8", "PACS", "dicom://10.9.8.7", True),
        ("PACS@10.0.0.0/8", "PACS", "10.9.8.7", True),
        ("PACS@10.0.0.0/8", "PACS", "dicom://11.9.8.7", False),
        ("PACS@10.0.0.0/8", "pacs", "dicom://10.9.8.7", False),
        ("PACS@10.0.0.0/8", "PACS", "", False),
        ("PACS@10.0.0.0/8", "PACS", "dicom://pacs.example", False),
        ("PACS@10.0.0.0/8", "PACS", "dicom://[::ffff:10.1.1.1]", True),
        ("PACS@fd00::/8", "PACS", "dicom://[fd00::1]", True),
        ("A@B@10.0.0.1", "A@B", "dicom://10.0.0.1", True),
    ],
)
def test_a_source_is_listed_by_title_and_address_together(entry, aet, peer, is_listed):
    assert RejectionPolicy(sources=listed_sources([entry])).lists(aet, peer) is is_listed
    assert not RejectionPolicy().lists(aet, peer)


SHOWN, ANOTHER = "ab" * 32, "cd" * 32


@pytest.mark.parametrize(
    ("written", "shown", "is_listed"),
    [
        (f"+sha256:{SHOWN}", SHOWN, True),
        (f"+SHA256:{':'.join(['AB'] * 32)}", SHOWN, True),
        (f"+sha256:{SHOWN}", ANOTHER, False),
        (f"+sha256:{SHOWN}", "", False),
        ("", SHOWN, True),
    ],
)
def test_a_source_that_names_its_certificate_is_listed_with_that_one_alone(written, shown, is_listed):
    policy = RejectionPolicy(sources=listed_sources([f"PACS@10.0.0.0/8{written}"]))
    assert policy.lists("PACS", "dicom://10.1.1.1", shown) is is_listed
    assert not policy.lists("PACS", "dicom://11.1.1.1", shown)


@pytest.mark.parametrize(
    "digest", ["", "sha256:", f"sha256:{SHOWN[:-1]}", f"sha1:{SHOWN}", SHOWN, f"sha256:{'xy' * 32}"]
)
def test_a_certificate_that_cannot_be_one_is_an_error_and_never_no_certificate(digest):
    with pytest.raises(ValueError, match="sha256:HEX"):
        listed_sources([f"PACS@10.0.0.0/8+{digest}"])


@pytest.mark.parametrize("entry", ["PACS", "@10.0.0.1", "PACS@", "PACS@host.example", "PACS@10.0.0.0/40", "A\\B@::1"])
def test_an_entry_that_binds_a_title_to_nothing_is_an_error_that_names_it(entry):
    with pytest.raises(ValueError, match="AET@NETWORK"):
        listed_sources([entry])


def test_only_the_effect_of_quality_is_a_setting():
    assert [RejectionPolicy().effect_of(title) for title in RejectionTitle] == [
        NoteEffect.KEEPS_PNEUMONIA,
        NoteEffect.WITHDRAWS,
        NoteEffect.WITHDRAWS,
        NoteEffect.EXPIRES,
        NoteEffect.RESTORES,
    ]
    ignored = RejectionPolicy(quality=NoteEffect.NONE)
    assert ignored.effect_of(RejectionTitle.QUALITY) is NoteEffect.NONE
    assert ignored.effect_of(RejectionTitle.PATIENT_SAFETY) is NoteEffect.WITHDRAWS
