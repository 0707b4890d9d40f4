"""The files of a bundle: its description ``bundle.json``, the digests in it, the validation logits."""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import BundleError
from model.sizes import MAX_OTHER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 2
"""Goes up whenever an older Auscult could misread a bundle."""

MANIFEST = "bundle.json"
KERAS_FILE = "model.keras"
LITERT_FILE = "model.tflite"
VALIDATION_FILE = "validation.csv"
CARD_FILE = "MODEL_CARD.md"
SCOPE_FILE = "scope.npz"
SEEN_FILE = "seen.npy"
FILES = (KERAS_FILE, LITERT_FILE, VALIDATION_FILE)
"""The files that every bundle has and whose digests ``bundle.json`` holds; ``SCOPE_FILE`` and
``SEEN_FILE`` are further ones where they are there."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Read ``bundle.json`` and check its format and its own digest.

    Raises
    ------
    BundleError
        If it is missing, altered, no JSON or of a newer format.
    """
    try:
        with (path / MANIFEST).open("rb") as stream:
            text = stream.read(MAX_OTHER_BYTES + 1)
        if len(text) > MAX_OTHER_BYTES:
            raise BundleError(f"{path / MANIFEST} is larger than any bundle's")
        manifest = json.loads(text.decode("utf-8"))
    except OSError as error:
        raise BundleError(f"{path} is no bundle: it has no readable {MANIFEST}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path / MANIFEST} is not valid JSON: copy or export the bundle again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise BundleError(f"{path / MANIFEST} is no bundle description: copy or export the bundle again")
    if manifest["format"] > FORMAT:
        raise BundleError(
            f"{path} has bundle format {manifest['format']} and this Auscult reads up to {FORMAT}: update Auscult"
        )
    if manifest.get("manifest_sha256") != manifest_digest(manifest):
        raise BundleError(
            f"{path / MANIFEST} was altered after it was written: copy the bundle again, "
            "or derive a new one to change its threshold"
        )
    return manifest


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a description without its own digest, independent of order and white space."""
    rest = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return json_digest(rest)


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``bundle.json`` with the digests of the files that lie beside it and of itself.

    Parameters
    ----------
    path : Path
        The bundle's folder, with all of ``FILES`` and maybe ``SCOPE_FILE`` and ``SEEN_FILE``.
    manifest : mapping
        The description; ``files`` and ``manifest_sha256`` are filled in.
    """
    names = [*FILES, *(name for name in (SCOPE_FILE, SEEN_FILE) if (path / name).is_file())]
    full = {**manifest, "files": {name: file_digest(path / name) for name in names}}
    full["manifest_sha256"] = manifest_digest(full)
    (path / MANIFEST).write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_file(path: Path, wanted: str) -> None:
    """Check that a file of a bundle is the one its description was written with.

    Raises
    ------
    BundleError
        If it is missing or altered.
    """
    try:
        found = file_digest(path)
    except OSError as error:
        raise BundleError(f"the bundle {path.parent} lacks {path.name}: copy or export the bundle again") from error
    if found != wanted:
        raise BundleError(f"{path} is not the file the bundle was made with (digest): copy or export the bundle again")


def write_validation(path: Path, targets: NDArray[np.float64], logits: NDArray[np.float64]) -> None:
    """Write target and logit of every validation film, which with folds is every film, by the member that had not seen it.

    Never a file name, which may name a patient.
    """
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["target", "logit"])
        writer.writerows([int(target), repr(float(logit))] for target, logit in zip(targets, logits, strict=True))


def read_validation(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read target and logit of every validation film, each of shape (n,)."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return table[:, 0], table[:, 1]


def json_digest(value: object) -> str:
    """SHA-256 (hex) of a value as JSON, independent of order and white space."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
