"""Count what the public training films look like: ``python -m model.drift.training_inputs chest_xray/train``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from model.drift.measures import Measure, histogram
from model.drift.reference import INPUTS_FILE, count_inputs
from model.input_statistics import input_statistics
from model.labels import Label
from model.serving.bundle import builtin_folder
from model.serving.manifest import SCOPE_FILE, file_digest
from model.serving.scope import read_scope, small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TITLE = "Chest X-Ray Images (Pneumonia), training split"


def measured(folder: Path) -> dict[str, Any]:
    """Title, number and histograms by class of the films of a folder with NORMAL/ and PNEUMONIA/."""
    two = [list(_films(folder / label)) for label in (Label.NORMAL, Label.PNEUMONIA)]
    counts = [count_inputs(input_statistics(film) for film in films) for films in two]
    classes = {measure.value: [one[measure].tolist() for one in counts] for measure in counts[0]}
    pictures = [np.stack([small(film) for film in films]) for films in two]
    scopes = {
        file_digest(path): [_unlikeness(path, films) for films in pictures]
        for path in sorted(builtin_folder().glob(f"*/{SCOPE_FILE}"))
    }
    return {"title": TITLE, "films": sum(map(len, two)), "classes": classes, "scopes": scopes}


def _unlikeness(path: Path, pictures: NDArray[np.float32]) -> list[int]:
    scope = read_scope(path)
    unlikeness = (scope.measures(pictures) / scope.limits).max(axis=1)
    return [int(films) for films in histogram(Measure.UNLIKENESS, unlikeness)]


def _films(folder: Path) -> Iterator[NDArray[np.uint8]]:
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            yield np.asarray(picture.convert("L"))


if __name__ == "__main__":
    text = json.dumps(measured(Path(sys.argv[1])), separators=(",", ":"))
    Path(__file__).with_name(INPUTS_FILE).write_text(text.replace('],"', '],\n"') + "\n", encoding="utf-8")
