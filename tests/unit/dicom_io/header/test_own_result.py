"""Objects of our own are known by their Device UID, and no others are taken for them."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from dicom_io.header.elements import Elements
from dicom_io.header.evidence import is_own_result
from dicom_io.own_device import MANUFACTURER, device_uid, uid_of


def with_equipment(**elements: str) -> Elements:
    item = Dataset()
    values = {
        "Manufacturer": MANUFACTURER,
        "ManufacturerModelName": "auscult",
        "SoftwareVersions": "2",
        "DeviceUID": device_uid("auscult", "2"),
        **elements,
    }
    for keyword, value in values.items():
        if value:
            setattr(item, keyword, value)
    other = Dataset()
    other.Manufacturer = "Maker"
    ds = Dataset()
    ds.ContributingEquipmentSequence = [other, item]
    return Elements(ds)


def test_an_object_with_our_device_uid_is_ours() -> None:
    assert is_own_result(with_equipment())


@pytest.mark.parametrize(
    "elements",
    [
        {"DeviceUID": ""},
        {"DeviceUID": "1.2.3"},
        {"Manufacturer": "Other"},
        {"ManufacturerModelName": "other"},
        {"SoftwareVersions": "3"},
    ],
)
def test_an_object_of_another_maker_is_not(elements: dict[str, str]) -> None:
    assert not is_own_result(with_equipment(**elements))


def test_an_object_without_contributing_equipment_is_not() -> None:
    assert not is_own_result(Elements(Dataset()))


def test_a_film_that_auscult_drew_or_wrapped_is_not() -> None:
    ds = Dataset()
    ds.Manufacturer = MANUFACTURER
    assert not is_own_result(Elements(ds))


def test_uids_follow_from_their_parts_alone() -> None:
    assert uid_of("a", "b") == uid_of("a", "b")
    assert len({uid_of("a", "b"), uid_of("ab"), uid_of("b", "a")}) == 3
    assert len(uid_of("a")) <= 44
    assert device_uid("auscult", "2") == "2.25.94706269235137914914231503568812913566"
