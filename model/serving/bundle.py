"""A bundle: the folder that holds everything a score depends on, with digests that prove that it is unaltered.

::

    notebook-1/
        bundle.json       name, version, input, threshold, intended use, metrics, digests (manifest.py)
        model.keras       the trained network, as Keras 3 keeps it
        model.tflite      the same network for LiteRT
        validation.csv    target and logit of every validation film, for another operating point
        seen.npy          digests of the films it was trained on (not in every bundle)
        stress.npz        logits of the same films changed in many ways (not in every bundle)
        scope.npz         what the training films look like (not in every bundle)
        MODEL_CARD.md     the same facts for people
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.card.card import render_card
from model.config import NAME, VERSION
from model.errors import BundleError, DataError, InputError
from model.labels import Label, Method
from model.operating.calibration import Bands, Calibration
from model.operating.operating_point import FittedPoint, facts_at
from model.operating.stress_table import Stressed, read_stressed
from model.preprocess import PREPROCESS_VERSION
from model.serving.manifest import (
    CARD_FILE,
    FILES,
    KERAS_FILE,
    LITERT_FILE,
    MANIFEST,
    SCOPE_FILE,
    STRESSED_FILE,
    VALIDATION_FILE,
    check_file,
    json_digest,
    read_manifest,
    read_validation,
    write_manifest,
)
from model.serving.scope import Scope, read_scope
from model.serving.sizes import MAX_INPUT_SIDE
from model.statistics.evaluation import Evaluation

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
    "stressed_of",
]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that is complete and unaltered.

    ``threshold`` is a probability; ``calibration`` turns a logit into one; ``age_years`` are completed years, both ends
    inclusive; ``metrics`` are those of the validation films at that threshold. ``site`` is the record of a calibration
    on a site's films (``site_version``), whose cross-fitted figures are then the metrics; None in any other bundle.
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
    litert_sha256: str
    digest: str
    metrics: Evaluation
    derived_from: str | None
    explained_by: Method
    site: dict[str, Any] | None

    @property
    def label(self) -> str:
        """The name of the bundle on the command line and in SQL: ``<name>-<version>``."""
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
        Folders that hold bundles; one that does not exist is skipped.

    Returns
    -------
    list of Bundle
        In the order of the folders, then by name; of two with the same label only the first.

    Raises
    ------
    BundleError
        If one of them is incomplete or altered.
    """
    found: dict[str, Bundle] = {}
    for folder in search:
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            bundle = load_bundle(manifest.parent)
            found.setdefault(bundle.label, bundle)
    return list(found.values())


def find_bundle(ref: str, search: Sequence[Path]) -> Bundle:
    """Find a bundle by its name or path, and load it.

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
        If no bundle has that name, or it is incomplete or altered.
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
        # The names come from a file, so only their last part is used: a path must not lead out of the folder.
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
        Name and version of the new bundle.
    threshold : float
        Probability, in (0, 1), from which on a film is PNEUMONIA.

    Returns
    -------
    Bundle
        Its metrics are computed from the validation logits at the new threshold.

    Raises
    ------
    BundleError
        If the name, the version or the threshold is invalid, the folder exists, or the source has a site's operating
        point: its figures come from films whose logits the bundle does not hold.
    """
    if not 0 < threshold < 1:
        raise BundleError("a threshold is a probability between 0 and 1")
    if source.site:
        raise BundleError(f"{source.label} has a site's operating point: derive from the bundle it was made of")
    check_new(out, name, version)
    manifest = read_manifest(source.path)
    targets, logits = read_validation(source.path / VALIDATION_FILE)
    changed = {
        "name": name,
        "version": version,
        **facts_at(FittedPoint(source.calibration, threshold), targets, logits, stressed_of(source), name, version),
        "derived_from": source.label,
    }
    return write_derived(source, out, {**manifest, **changed}, render_card({**manifest, **changed}))


def write_derived(source: Bundle, out: Path, manifest: dict[str, Any], card: str) -> Bundle:
    """Write a bundle with the files of another one.

    Parameters
    ----------
    source : Bundle
        The bundle whose files are copied.
    out : Path
        The new bundle's folder; it must not exist.
    manifest : dict
        The description to write.
    card : str
        The model card to write, Markdown.

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        If the result is not a complete bundle.
    """
    out.mkdir(parents=True)
    for file in manifest["files"]:
        shutil.copyfile(source.path / file, out / file)
    (out / CARD_FILE).write_text(card, encoding="utf-8")
    write_manifest(out, manifest)
    return load_bundle(out)


def stressed_of(bundle: Bundle) -> Stressed | None:
    """The held-out logits under every perturbation; None where the bundle has none, as in older bundles.

    Raises
    ------
    BundleError
        If they cannot be read.
    """
    path = bundle.path / STRESSED_FILE
    return read_stressed(path) if path.is_file() else None


def check_new(out: Path, name: str, version: str) -> None:
    """Check the name, the version and the folder of a new bundle.

    Raises
    ------
    BundleError
        If the name or the version is invalid, or the folder exists. A bundle is never overwritten: results in SQL refer
        to its name and version.
    """
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise BundleError("the name of a model is a small word and its version a number, as in notebook and 1")
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
        litert_sha256=str(manifest["files"][LITERT_FILE]),
        digest=json_digest(decisive),
        metrics=Evaluation.from_dict(manifest["metrics"]),
        derived_from=manifest["derived_from"],
        explained_by=Method((manifest.get("explanation") or {}).get("method", Method.HIRESCAM)),
        site=_site(manifest.get("site")),
    )


def _site(record: Any) -> dict[str, Any] | None:
    """Check the fields of a site's record that other modules read; raises KeyError, TypeError or ValueError."""
    if record is None:
        return None
    is_whole = isinstance(record["network"], dict) and isinstance(record["films_digest"], str)
    if not is_whole or record["verdict"] not in (None, "ACCEPTED", "NOT ACCEPTED"):
        raise ValueError("the record of a site's calibration is not whole")
    return dict(record)
