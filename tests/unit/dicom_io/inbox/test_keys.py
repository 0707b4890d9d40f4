"""Keys: nobody has the same, and those of the same time share a folder of the store."""

from __future__ import annotations

from collections import Counter

from dicom_io.inbox.keys import FOLDER_DIGITS, KEYS_TOGETHER, Keys, checked_key


def test_keys_differ_and_are_valid():
    keys = Keys()
    made = [keys.new() for _ in range(2 * KEYS_TOGETHER)] + [Keys().new() for _ in range(10)]
    assert len(set(made)) == len(made)
    assert [checked_key(key) for key in made] == made


def test_as_many_keys_as_are_meant_to_share_a_folder_do_so():
    keys = Keys()
    folders = Counter(keys.new()[:FOLDER_DIGITS] for _ in range(8 * KEYS_TOGETHER))
    # Two of eight may draw the same digits, once in two thousand times.
    assert all(count % KEYS_TOGETHER == 0 for count in folders.values())
    assert len(folders) >= 6
