"""Objects to send, divided among associations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.client.outgoing import batches, outgoing_of
from tests.support.objects import Made

if TYPE_CHECKING:
    from pathlib import Path


def test_batches_keep_the_order_and_fit_into_an_association(tmp_path: Path) -> None:
    classes = [f"1.2.826.0.1.3680043.10.1234.98.{number % 200}" for number in range(300)]
    files = [Made(sop_class_uid=uid).write(tmp_path / f"{number}.dcm") for number, uid in enumerate(classes)]
    items = list(enumerate(outgoing_of(path, tmp_path) for path in files))
    parts = list(batches(items))
    assert [numbered for part in parts for numbered in part] == items
    assert all(len({item.context for _, item in part}) <= 128 for part in parts)
    assert len(parts) == 3
