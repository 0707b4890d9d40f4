"""The tuned way, beside Orthanc: a process that judges the films whose paths come over a socket, and writes rows.

Films are reduced by means of blocks before anything else, decoders are imagecodecs' and Pillow's, LiteRT has one thread,
and rows are committed when no further film waits, or twenty have gathered.
"""

from __future__ import annotations

import io
import json
import socket
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps
from pydicom import dcmread
from pydicom.encaps import generate_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST_SIDE, GATHERED, LONGEST_PATH = 256, 20, 4096
JPEG_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"


def main(source: socket.socket, told: dict[str, Any]) -> None:
    """Judge until Orthanc closes the socket."""
    network = Interpreter(model_path=told["litert"], num_threads=1)
    network.allocate_tensors()
    into, out = network.get_input_details()[0]["index"], network.get_signature_runner().get_output_details()
    answer = out["logit"]["index"] if "logit" in out else next(iter(out.values()))["index"]
    database = sqlite3.connect(told["database"], timeout=60, isolation_level=None)
    database.execute(f"PRAGMA synchronous = {told['synchronous']}")

    def judged(path: bytes) -> tuple[str, float]:
        uid, film = _film(path.decode(), reduces=told["reduces"])
        picture = Image.fromarray(film).resize((told["size"],) * 2, Image.Resampling.BILINEAR)
        batch = np.asarray(ImageOps.autocontrast(picture, cutoff=1), dtype=np.float32)[None, :, :, None] / 255
        network.set_tensor(into, batch)
        network.invoke()
        return uid, float(network.get_tensor(answer).ravel()[0])

    while path := source.recv(LONGEST_PATH):
        rows = [judged(path)]
        while len(rows) < GATHERED and (path := _at_once(source)):
            rows.append(judged(path))
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO result VALUES (?, ?)", rows)
        database.execute("COMMIT")


def _at_once(source: socket.socket) -> bytes:
    """The next path; empty where none waits."""
    try:
        return source.recv(LONGEST_PATH, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def _film(path: str, *, reduces: bool) -> tuple[str, NDArray[np.uint8]]:
    """UID and film: 8 bit, MONOCHROME2, its shortest side 256 pixels and more."""
    with open(path, "rb") as file:  # noqa: PTH123 - a path is text here
        ds = dcmread(file, stop_before_pixels=True)
        place = file.tell()
    syntax, shape = ds.file_meta.TransferSyntaxUID, (ds.Rows, ds.Columns)
    shrink = min(shape) // SHORTEST_SIDE
    if syntax in (JPEG_LOSSLESS, JPEG_2000):
        frame = next(generate_frames(np.fromfile(path, np.uint8, offset=place + 12).tobytes(), number_of_frames=1))
        if syntax == JPEG_2000 and reduces:
            small, scale = _at_lower_resolution(frame, shrink, ds.BitsStored)
        else:
            decode = imagecodecs.jpeg2k_decode if syntax == JPEG_2000 else imagecodecs.jpeg8_decode
            small, scale = _means(decode(frame), shrink, ds.BitsStored)
    else:
        kind = np.uint16 if ds.BitsAllocated == 16 else np.uint8
        small, scale = _means(np.memmap(path, kind, "r", offset=place + 12, shape=shape), shrink, ds.BitsStored)
    centre, width = float(ds.WindowCenter), float(ds.WindowWidth)
    # PS3.3 C.11.2.1.2.1
    grey = ((small * np.float32(1 / scale) - (centre - 0.5)) / (width - 1) + 0.5) * 255
    film = np.clip(grey + 0.5, 0, 255).astype(np.uint8)
    return str(ds.SOPInstanceUID), 255 - film if ds.PhotometricInterpretation == "MONOCHROME1" else film


def _means(pixels: NDArray[Any], shrink: int, bits: int) -> tuple[NDArray[Any], int]:
    """Sums of blocks, and how many pixels each is the sum of."""
    rows, columns = (side // shrink for side in pixels.shape)
    # Half the memory to go through where the sums of columns fit.
    narrow = np.uint16 if shrink << bits <= 1 << 16 else np.uint32
    lines = np.add.reduce(pixels[: rows * shrink].reshape(rows, shrink, -1), axis=1, dtype=narrow)
    starts = np.arange(0, columns * shrink, shrink)
    return np.add.reduceat(lines[:, : columns * shrink], starts, axis=1, dtype=np.uint32), shrink * shrink


def _at_lower_resolution(code: bytes, shrink: int, bits: int) -> tuple[NDArray[Any], int]:
    """The wavelet's own smaller picture; Pillow shifts the values of up to 16 bits to 16."""
    picture = Image.open(io.BytesIO(code))
    picture.reduce = shrink.bit_length() - 1  # type: ignore[assignment, method-assign]
    return np.asarray(picture, dtype=np.float32), 1 << (16 - bits)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2]))
