"""The files of a bundle: its description ``bundle.json``, the digests in it, the validation logits."""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import BundleError
from model.serving.sizes import MAX_OTHER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 3
"""Goes up whenever an older Auscult could misread a bundle."""

MANIFEST = "bundle.json"
KERAS_FILE = "model.keras"
LITERT_FILE = "model.tflite"
VALIDATION_FILE = "validation.csv"
CARD_FILE = "MODEL_CARD.md"
SCOPE_FILE = "scope.npz"
SEEN_FILE = "seen.npy"
STRESSED_FILE = "stress.npz"
FILES = (KERAS_FILE, LITERT_FILE, VALIDATION_FILE)
"""The files that every bundle has and whose digests ``bundle.json`` holds."""

FURTHER_FILES = (SCOPE_FILE, SEEN_FILE, STRESSED_FILE)
"""Files that a bundle may have besides; ``bundle.json`` holds their digests too."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Read ``bundle.json`` and check its format and its own digest.

    Raises
    ------
    BundleError
        If it is missing, altered, not JSON or of a newer format.
    """
    try:
        with (path / MANIFEST).open("rb") as stream:
            text = stream.read(MAX_OTHER_BYTES + 1)
        if len(text) > MAX_OTHER_BYTES:
            raise BundleError(f"{path / MANIFEST} is larger than any bundle's")
        manifest = json.loads(text.decode("utf-8"))
    except OSError as error:
        raise BundleError(f"{path} is not a bundle: it has no readable {MANIFEST}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path / MANIFEST} is not valid JSON: copy or export the bundle again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise BundleError(f"{path / MANIFEST} is not the description of a bundle: copy or export the bundle again")
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
        The bundle's folder, with all of ``FILES`` and maybe some of ``FURTHER_FILES``.
    manifest : mapping
        The description; ``files`` and ``manifest_sha256`` are filled in.
    """
    names = [*FILES, *(name for name in FURTHER_FILES if (path / name).is_file())]
    full = signed({**manifest, "files": {name: file_digest(path / name) for name in names}})
    (path / MANIFEST).write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")


def signed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A description with its own digest in ``manifest_sha256``."""
    return {**manifest, "manifest_sha256": manifest_digest(manifest)}


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_file(path: Path, wanted: str) -> None:
    """Check a file of a bundle against the digest in its description.

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
    """Write target and logit of every validation film.

    With folds that is every film, each judged by the member that had not seen it. File names are left out: they may
    identify a patient.
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
