"""One film to a score: Auscult's pipeline against the obvious way, for each coding that radiographs come in.

``python3 dev.py bench film`` times both in turns and prints CPU milliseconds, medians and their ratio. It writes
``benchmarks/film/film.json`` and ``film.png``. The obvious way is a first script: pydicom's ``pixel_array``,
``apply_voi_lut``, a resize with Pillow, ``model.predict`` of Keras, film by film.

The films are drawn chests with the noise of a detector, each once as it is and once with burned-in letters, as most
films have: sharp letters make JPEG 2000 and HTJ2K take a finer level, or the whole picture.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from benchmarks.machine import machine, versions
from dicom_io.create.phantom import demo_studies
from dicom_io.film.film import FILM_VERSION, Film, film_of_dicom
from dicom_io.film.png import read_png, write_png
from dicom_io.header.reader import read_facts
from model.serving.bundle import builtin_folder, find_bundle
from model.serving.classifier import Classifier
from model.serving.engine import open_engine
from worker.judging.buffers import keep_buffers
from worker.judging.pipeline import judge_film

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

ROUNDS = 7
LARGE, SMALL = (2500, 2048), (512, 512)
HTJ2K = "1.2.840.10008.1.2.4.201"
FOLDER = Path(__file__).parent / "film"
TITLE = "Film to score: CPU of the obvious way / Auscult (mark: target)"
INK, OURS, FAINT = (34, 34, 34), (0, 90, 160), (190, 190, 190)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: a film on disk, and how many times faster than the obvious way it is meant to be."""

    name: str
    path: Path
    target: float | None


def compare() -> None:
    """Time both ways in turns, print the table, write it as JSON and as a picture."""
    # as workers do; the obvious way, in the same process, gains by it too
    keep_buffers()
    bundle = find_bundle("notebook-1", [builtin_folder()])
    with tempfile.TemporaryDirectory() as folder:
        cases = list(_cases(Path(folder)))
        classifier = Classifier(bundle, open_engine(bundle, "litert"))
        obvious = obvious_way(bundle.keras_path, bundle.input_size)

        def ours(path: Path) -> float:
            score = judge_film(classifier, read_facts(path), lambda: film_of_dicom(path)).score
            return score.probability if score else float("nan")

        ways = {"obvious": obvious, "film": film_of_dicom, "auscult": ours}
        rows = [_row(case, _times(case.path, ways)) for case in cases]
        stored = _stored(film_of_dicom(cases[0].path), Path(folder) / "film.png")
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "rounds": ROUNDS,
        "film_version": FILM_VERSION,
        "machine": machine(),
        "versions": versions("numpy", "pillow", "imagecodecs", "pydicom", "keras"),
        "rows": rows,
        "stored_film": stored,
    }
    _print(report)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "film.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    draw(FOLDER / "film.png", report)


def drawn(size: tuple[int, int], *, letters: bool, seed: int = 1) -> NDArray[np.uint16]:
    """A drawn chest of 12 bits with the noise of a detector, and burned-in letters if they are asked for."""
    small = next(iter(demo_studies())).dataset.pixel_array.astype(np.float32)
    rows, columns = size
    picture = Image.fromarray(small).resize((columns, rows), Image.Resampling.BICUBIC)
    if letters:
        pen = ImageDraw.Draw(picture)
        pen.text((columns // 12, rows // 12), "R 1", 4095, ImageFont.load_default(rows // 16))
    noise = np.random.default_rng(seed).normal(0, 8, size)
    return np.clip(np.asarray(picture) + noise, 0, 4095).astype(np.uint16)


def write_film(path: Path, pixels: NDArray[Any], syntax: str = "", code: bytes = b"") -> Path:
    """A film of these pixels with a window over all of their bits, compressed if there is a code stream."""
    ds: Dataset = next(iter(demo_studies())).dataset
    bits = 8 if pixels.dtype == np.uint8 else 12
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = pixels.dtype.itemsize * 8, bits, bits - 1
    ds.WindowCenter, ds.WindowWidth = str(1 << (bits - 1)), str(1 << bits)
    ds.PixelData = encapsulate([code]) if code else pixels.tobytes()
    ds["PixelData"].VR = "OB" if code or bits == 8 else "OW"
    ds["PixelData"].is_undefined_length = bool(code)
    if code:
        ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.save_as(path, enforce_file_format=True)
    return path


def _cases(folder: Path) -> Iterator[Case]:
    jpeg = "1.2.840.10008.1.2.4."
    for letters in (False, True):
        named = ", letters" if letters else ""
        large = drawn(LARGE, letters=letters)
        codes: dict[str, tuple[str, bytes | bytearray, float]] = {
            "uncompressed": ("", b"", 20),
            "JPEG lossless": (
                jpeg + "70",
                imagecodecs.jpeg8_encode(large, lossless=True, predictor=1, bitspersample=12),
                10,
            ),
            "JPEG 2000 lossless": (jpeg + "90", _j2k(large, reversible=True, level=0), 40),
            "JPEG 2000 lossy": (jpeg + "91", _j2k(large, reversible=False, level=70), 40),
            "HTJ2K": (HTJ2K, imagecodecs.htj2k_encode(large, reversible=True), 40),
        }
        for name, (syntax, code, target) in codes.items():
            path = write_film(folder / f"{name}{named}.dcm", large, syntax, bytes(code))
            yield Case(f"{name} 2500x2048{named}, {path.stat().st_size / 1e6:.1f} MB", path, target)
    grey = (drawn(LARGE, letters=False) >> 4).astype(np.uint8)
    path = write_film(folder / "baseline.dcm", grey, jpeg + "50", bytes(imagecodecs.jpeg8_encode(grey, level=90)))
    yield Case(f"baseline JPEG 2500x2048, {path.stat().st_size / 1e6:.1f} MB", path, None)
    small = (drawn(SMALL, letters=False) >> 4).astype(np.uint8)
    yield Case("uncompressed 512x512, 8 bit", write_film(folder / "small.dcm", small), 20)


def _j2k(pixels: NDArray[np.uint16], *, reversible: bool, level: int) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            pixels, codecformat="j2k", reversible=reversible, level=level, bitspersample=12, resolutions=6
        )
    )


def _times(path: Path, ways: dict[str, Callable[[Path], object]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.process_time()
            way(path)
            if turn:
                times[name].append((time.process_time() - began) * 1000)
    return times


def _row(case: Case, times: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(values) for name, values in times.items()}
    spread = {name: [round(min(values), 1), round(max(values), 1)] for name, values in times.items()}
    return {
        "case": case.name,
        "cpu_ms": {name: round(median, 1) for name, median in medians.items()},
        "spread": spread,
        "ratio": round(medians["obvious"] / medians["auscult"], 1),
        "target": case.target,
    }


def _stored(film: Film, path: Path) -> dict[str, float]:
    """What the film takes on disk: CPU milliseconds to write and to read it, and its size."""
    times: dict[str, list[float]] = {"write_ms": [], "read_ms": []}
    for _ in range(3 * ROUNDS):
        for name, way in (("write_ms", lambda: write_png(film, path)), ("read_ms", lambda: read_png(path))):
            began = time.process_time()
            way()
            times[name].append((time.process_time() - began) * 1000)
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    return {**medians, "kilobytes": round(path.stat().st_size / 1000, 1)}


def _print(report: dict[str, Any]) -> None:
    write = sys.stdout.write
    write(f"{report['machine']}; {', '.join(f'{name} {number}' for name, number in report['versions'].items())}\n")
    write(f"CPU ms a film, medians of {ROUNDS} rounds in turns (least to most)\n\n")
    write(f"{'film':48} {'obvious way':>20} {'Auscult':>18} {'film alone':>10} {'ratio':>6} {'target':>6}\n")
    for row in report["rows"]:
        shown = {
            name: f"{row['cpu_ms'][name]:.1f} ({row['spread'][name][0]:.0f}-{row['spread'][name][1]:.0f})"
            for name in ("obvious", "auscult")
        }
        target = f"{row['target']:.0f}" if row["target"] else "-"
        write(f"{row['case']:48} {shown['obvious']:>20} {shown['auscult']:>18} {row['cpu_ms']['film']:10.1f} ")
        write(f"{row['ratio']:6.1f} {target:>6}\n")
    stored = report["stored_film"]
    write(f"\nfilm on disk: {stored['write_ms']} ms to write, fsync aside, {stored['read_ms']} ms to read, ")
    write(f"{stored['kilobytes']} kB\n")


def draw(path: Path, report: dict[str, Any], title: str = TITLE) -> None:
    """Draw the ratios as bars, with a mark at each target."""
    rows, left, width, line = report["rows"], 380, 560, 26
    sheet = Image.new("RGB", (left + width + 90, 70 + line * len(rows)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    pen.text((16, 14), title, INK, ImageFont.load_default(18))
    most = max(max(row["ratio"], row["target"] or 0) for row in rows)
    for number, row in enumerate(rows):
        top = 52 + line * number
        pen.text((16, top), row["case"], INK, font)
        pen.rectangle((left, top, left + width * row["ratio"] / most, top + 16), OURS)
        pen.text((left + width * row["ratio"] / most + 6, top), f"{row['ratio']:.1f}", INK, font)
        if row["target"]:
            mark = left + width * row["target"] / most
            pen.line((mark, top - 3, mark, top + 19), FAINT, 3)
    sheet.quantize(32).save(path, "PNG", optimize=True)


def obvious_way(network_path: Path, size: int) -> Callable[[Path], float]:
    """pydicom's pixel_array, apply_voi_lut, a resize, model.predict one by one: what a first script would do."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    from pydicom.pixels.processing import apply_voi_lut

    network = keras.saving.load_model(network_path, compile=False)

    def answer(path: Path) -> float:
        ds = dcmread(path)
        shown = apply_voi_lut(_pixel_array(ds), ds).astype(np.float32)
        shown = (shown - shown.min()) / (shown.max() - shown.min())
        if ds.PhotometricInterpretation == "MONOCHROME1":
            shown = 1 - shown
        small = Image.fromarray((shown * 255).astype(np.uint8)).resize((size, size), Image.Resampling.BILINEAR)
        batch = np.asarray(small, dtype=np.float32)[None, :, :, None] / 255
        return float(np.ravel(network.predict(batch, verbose=0))[0])

    return answer


def _pixel_array(ds: Dataset) -> NDArray[Any]:
    """pydicom's pixel_array; the plug-in by which pydicom reads HTJ2K is not installed, so OpenJPH does it here."""
    if ds.file_meta.TransferSyntaxUID != HTJ2K:
        return ds.pixel_array
    return imagecodecs.htj2k_decode(next(generate_frames(ds.PixelData, number_of_frames=1)))
