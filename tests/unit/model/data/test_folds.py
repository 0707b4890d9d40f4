from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.dataset import Picture, kept_together, scan_folder
from model.data.folds import folds
from model.errors import DataError
from model.labels import Label

KINDS = {"IM": Label.NORMAL, "NORMAL2-IM": Label.NORMAL, "bacteria": Label.PNEUMONIA, "virus": Label.PNEUMONIA}
# For each kind the number of films of each child; a child's films may be those of another under another name.
CHILDREN = st.fixed_dictionaries({kind: st.lists(st.integers(1, 6), min_size=5, max_size=12) for kind in KINDS})


def written(folder: Path, children: dict[str, list[int]], shared: bool) -> list[Picture]:
    pictures = []
    for kind, label in KINDS.items():
        for patient, count in enumerate(children[kind]):
            for film in range(count):
                path = folder / f"{kind}-{patient}-{film}"
                # Children 0 and 1 of one kind have one file in common.
                path.write_text(f"{kind} shared" if shared and patient < 2 and film == 0 else path.name)
                pictures.append(Picture(path, label, kind, str(patient)))
    return pictures


@settings(max_examples=25, deadline=None)
@given(CHILDREN, st.integers(2, 4), st.integers(0, 2**32), st.booleans())
def test_folds_keep_children_whole_validate_each_film_once_and_are_balanced(children, k, seed, shared):
    with tempfile.TemporaryDirectory() as folder:
        pictures = written(Path(folder), children, shared)
        found = folds(pictures, k, seed)
        biggest: Counter[str] = Counter()
        for group in kept_together(pictures):
            biggest[group[0].kind] = max(biggest[group[0].kind], len(group))
        assert folds(pictures[::-1], k, seed) == found
    assert len(found) == k
    assert sorted(picture for split in found for picture in split.validation) == sorted(pictures)
    for split in found:
        assert set(split.train) | set(split.validation) == set(pictures)
        assert not {(p.kind, p.patient) for p in split.train} & {(p.kind, p.patient) for p in split.validation}
        if shared:
            sides = [
                {p.kind for p in side if int(p.patient) < 2 and p.path.name.endswith("-0")}
                for side in (split.train, split.validation)
            ]
            assert not sides[0] & sides[1]
    for kind in KINDS:
        shares = [sum(picture.kind == kind for picture in split.validation) for split in found]
        assert max(shares) - min(shares) <= biggest[kind]


def test_another_seed_gives_other_folds(tmp_path):
    pictures = written(tmp_path, {kind: [2] * 10 for kind in KINDS}, shared=False)
    assert folds(pictures, 3, seed=1) != folds(pictures, 3, seed=2)


def test_one_fold_or_too_few_children_are_refused(tmp_path):
    pictures = written(tmp_path, {kind: [3, 1] for kind in KINDS}, shared=False)
    with pytest.raises(DataError, match="at least 2 folds"):
        folds(pictures, 1, seed=1)
    with pytest.raises(DataError, match="too few patients"):
        folds(pictures, 5, seed=1)


@pytest.mark.data
def test_the_public_training_films_fall_into_five_equal_folds(test_data):
    pictures = scan_folder(test_data / "chest_xray" / "train")
    found = folds(pictures, 5, seed=20)
    assert sum(len(split.validation) for split in found) == len(pictures) == 5216
    assert {len(split.validation) for split in found} <= set(range(1038, 1049))
    for kind in KINDS:
        shares = [sum(picture.kind == kind for picture in split.validation) for split in found]
        assert max(shares) - min(shares) <= 1
