"""A bundle: the folder that holds everything a score depends on, with digests that prove it unaltered.

::

    notebook-1/
        bundle.json       name, version, input, threshold, intended use, metrics, digests (manifest.py)
        model.keras       the trained network, as Keras 3 keeps it
        model.tflite      the same network for LiteRT
        validation.csv    target and logit of every validation film, for another operating point
        seen.npy          digests of the films it was trained on (not in every bundle)
        scope.npz         what the training films look like (not in every bundle)
        MODEL_CARD.md     the same facts for people
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.calibrate import UNCALIBRATED, Bands, Calibration, fit_bands
from model.card import render_card
from model.config import NAME, VERSION
from model.errors import BundleError, DataError, InputError
from model.evaluate import Evaluation, evaluate_probabilities
from model.labels import Label
from model.manifest import (
    CARD_FILE,
    FILES,
    KERAS_FILE,
    LITERT_FILE,
    MANIFEST,
    SCOPE_FILE,
    VALIDATION_FILE,
    check_file,
    json_digest,
    read_manifest,
    read_validation,
    write_manifest,
)
from model.preprocess import PREPROCESS_VERSION
from model.scope import Scope, read_scope
from model.sizes import MAX_INPUT_SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = [
    "Bundle",
    "builtin_folder",
    "check_new",
    "derive",
    "find_bundle",
    "list_bundles",
    "load_bundle",
    "read_manifest",
]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was found whole and unaltered.

    ``threshold`` is a probability; ``calibration`` makes one of a logit; ``age_years`` are completed years, both ends
    inclusive; ``metrics`` are those of the validation films at that threshold.
    """

    name: str
    version: str
    path: Path
    network: str
    input_size: int
    preprocess_version: int
    threshold: float
    calibration: Calibration | None
    bands: Bands | None
    scope: Scope | None
    age_years: tuple[int, int]
    projections: tuple[str, ...]
    body_part: str
    weights_sha256: str
    digest: str
    metrics: Evaluation
    derived_from: str | None

    @property
    def label(self) -> str:
        """How the bundle is called on a command line and in SQL: ``<name>-<version>``."""
        return f"{self.name}-{self.version}"

    @property
    def keras_path(self) -> Path:
        """The network for Keras."""
        return self.path / KERAS_FILE

    @property
    def litert_path(self) -> Path:
        """The network for LiteRT."""
        return self.path / LITERT_FILE

    @property
    def card_path(self) -> Path:
        """The model card."""
        return self.path / CARD_FILE


def builtin_folder() -> Path:
    """Folder of the bundles that ship with the package."""
    return Path(str(resources.files("model"))) / "bundles"


def list_bundles(search: Sequence[Path]) -> list[Bundle]:
    """Load every bundle of some folders.

    Parameters
    ----------
    search : sequence of Path
        Folders that hold bundles; one that does not exist is passed over.

    Returns
    -------
    list of Bundle
        In the order of the folders, then by name; of two of the same label the first.

    Raises
    ------
    BundleError
        If one of them is not whole.
    """
    found: dict[str, Bundle] = {}
    for folder in search:
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            bundle = load_bundle(manifest.parent)
            found.setdefault(bundle.label, bundle)
    return list(found.values())


def find_bundle(ref: str, search: Sequence[Path]) -> Bundle:
    """Load the bundle that is called ``ref``.

    Parameters
    ----------
    ref : str
        ``<name>-<version>``, or the path of a bundle's folder.
    search : sequence of Path
        Folders that hold bundles, the first wins.

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        If there is none of that name, or it is not whole.
    """
    is_name = Path(ref).name == ref
    for folder in search if is_name else ():
        if (folder / ref / MANIFEST).is_file():
            bundle = load_bundle(folder / ref)
            if bundle.label != ref:
                raise BundleError(f"the folder {folder / ref} holds {bundle.label}: rename the folder")
            return bundle
    if (Path(ref) / MANIFEST).is_file():
        return load_bundle(Path(ref))
    known = sorted({manifest.parent.name for folder in search for manifest in folder.glob(f"*/{MANIFEST}")})
    raise BundleError(f"there is no model {ref!r}; known: {', '.join(known) or 'none'}")


def load_bundle(path: Path) -> Bundle:
    """Load a bundle and check every digest.

    Parameters
    ----------
    path : Path
        The bundle's folder.

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        If a file is missing or altered, or the bundle needs another version of Auscult.
    """
    manifest = read_manifest(path)
    try:
        # The names come from a file: one that leads out of the folder is no name of a bundle's file.
        names = {*FILES, *(Path(name).name for name in manifest["files"])}
        for name in sorted(names):
            check_file(path / name, str(manifest["files"].get(name, "")))
        return _bundle(path, manifest)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, DataError, InputError) as error:
        raise BundleError(f"{path / MANIFEST} is incomplete: export the bundle again") from error


def derive(source: Bundle, out: Path, *, name: str, version: str, threshold: float) -> Bundle:
    """Make a bundle of the same network with another operating point.

    Parameters
    ----------
    source : Bundle
        Where the network and its validation logits come from.
    out : Path
        The new bundle's folder; it must not exist.
    name, version : str
        How the new bundle is called.
    threshold : float
        Probability, in (0, 1), from which on a film is PNEUMONIA.

    Returns
    -------
    Bundle
        Its metrics are measured anew, from the validation logits at the new threshold.

    Raises
    ------
    BundleError
        If the name, the version or the threshold cannot be, or the folder exists.
    """
    if not 0 < threshold < 1:
        raise BundleError("a threshold is a probability between 0 and 1")
    check_new(out, name, version)
    manifest = read_manifest(source.path)
    targets, logits = read_validation(source.path / VALIDATION_FILE)
    calibration = source.calibration or UNCALIBRATED
    metrics = evaluate_probabilities(targets, calibration.probabilities(logits), threshold, name, version)
    changed = {
        "name": name,
        "version": version,
        "threshold": threshold,
        "metrics": metrics.as_dict(),
        "derived_from": source.label,
    }
    if source.bands:
        changed["bands"] = fit_bands(targets, calibration.probabilities(logits), threshold).as_dict()
    out.mkdir(parents=True)
    for file in manifest["files"]:
        shutil.copyfile(source.path / file, out / file)
    (out / CARD_FILE).write_text(render_card({**manifest, **changed}), encoding="utf-8")
    write_manifest(out, {**manifest, **changed})
    return load_bundle(out)


def check_new(out: Path, name: str, version: str) -> None:
    """Check that a new bundle may be called so and be written there.

    Raises
    ------
    BundleError
        If it may not. A bundle is never overwritten: results in SQL refer to its name and version.
    """
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise BundleError("a model is called by a small word and a version number, as in notebook and 1")
    if out.exists():
        raise BundleError(f"{out} exists already: raise the version, or remove the folder if no result refers to it")


def _bundle(path: Path, manifest: dict[str, Any]) -> Bundle:
    if manifest["labels"] != [label.value for label in Label] or manifest["positive"] != Label.PNEUMONIA:
        raise BundleError(f"{path} answers with other labels than NORMAL and PNEUMONIA")
    if manifest["preprocess_version"] != PREPROCESS_VERSION:
        raise BundleError(
            f"{path} was trained with preprocessing {manifest['preprocess_version']}; this Auscult has "
            f"{PREPROCESS_VERSION}: use the Auscult it came with, or train it again"
        )
    use = manifest["intended_use"]
    youngest, oldest = use["age_years"]
    threshold = float(manifest["threshold"])
    if not 0 < threshold < 1:
        raise BundleError(f"{path} has a threshold outside 0 to 1: derive the bundle again")
    if not 1 <= int(manifest["input_size"]) <= MAX_INPUT_SIDE:
        raise BundleError(
            f"{path} has an input of more than {MAX_INPUT_SIDE} pixels a side: no network here is that large"
        )
    calibration, bands = manifest["calibration"], manifest["bands"]
    decisive = {"calibration": calibration, "threshold": threshold}
    if bands is not None or SCOPE_FILE in manifest["files"]:
        decisive |= {"bands": bands, "scope": manifest["files"].get(SCOPE_FILE)}
    return Bundle(
        name=str(manifest["name"]),
        version=str(manifest["version"]),
        path=path,
        network=str(manifest["network"]),
        input_size=int(manifest["input_size"]),
        preprocess_version=PREPROCESS_VERSION,
        threshold=threshold,
        calibration=None
        if calibration is None
        else Calibration(float(calibration["slope"]), float(calibration["intercept"])),
        bands=None if bands is None else Bands.from_dict(bands),
        scope=read_scope(path / SCOPE_FILE) if SCOPE_FILE in manifest["files"] else None,
        age_years=(int(youngest), int(oldest)),
        projections=tuple(str(view) for view in use["projections"]),
        body_part=str(use["body_part"]),
        weights_sha256=str(manifest["files"][KERAS_FILE]),
        digest=json_digest(decisive),
        metrics=Evaluation.from_dict(manifest["metrics"]),
        derived_from=manifest["derived_from"],
    )
