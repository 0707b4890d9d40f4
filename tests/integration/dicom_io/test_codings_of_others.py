"""Films compressed by the field's own tools, dcmtk and GDCM: lossless ones come back value for value."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels.utils import pixel_array

from dicom_io.errors import FilmError
from dicom_io.header.reader import read_facts
from dicom_io.pixels.decode import read_stored_pixels
from dicom_io.pixels.syntaxes import CODINGS, Coding
from tests.support.documents import ROOT
from tests.support.films import film, save
from tests.support.peers import Peers, provided

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

pytestmark = pytest.mark.integration

#: (BitsAllocated, BitsStored)
DEPTHS = [(8, 8), (16, 10), (16, 12), (16, 15), (16, 16)]
LOSSLESS = [
    ("dcmconv", "+ti"),
    ("dcmconv", "+tb"),
    ("dcmconv", "+td"),
    ("dcmcrle", "+ff"),
    ("dcmcrle", "+fs", "2"),
    ("dcmcjpeg", "+e1"),
    ("dcmcjpeg", "+e1", "+fs", "1"),
    *(("dcmcjpeg", "+el", "+sv", str(predictor)) for predictor in range(1, 8)),
    ("dcmcjpls", "+el"),
    ("dcmcjpls", "+el", "+pz", "-ot"),
]
#: What dcmtk unpacks each coding with; it has nothing for JPEG 2000.
DECODERS = {Coding.RLE: "dcmdrle", Coding.JPEG: "dcmdjpeg", Coding.JPEG_LS: "dcmdjpls"}
each_depth = pytest.mark.parametrize("depth", DEPTHS, ids=[f"{stored} in {allocated}" for allocated, stored in DEPTHS])


@pytest.fixture(scope="module")
def encoders() -> Peers:
    return provided(("dcmconv", "dcmcrle", "dcmcjpeg", "dcmcjpls", *DECODERS.values()), ("dcmtk",))


def picture(bits: int, *, signed: bool = False) -> NDArray[np.int64]:
    """Smooth but for some noise, from the lowest to the highest value, of odd width."""
    low, count = (-(1 << (bits - 1)) if signed else 0), 1 << bits
    ramp = np.linspace(low, low + count - 1, 75 * 131).round().reshape(75, 131)
    ramp[10:20] = np.random.default_rng(6).integers(low, low + count, (10, 131))
    return ramp.astype(np.int64)


def as_stored(pixels: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    return pixels & ((1 << bits) - 1)


def made(pixels: NDArray[np.int64], depth: tuple[int, int], *, signed: bool = False) -> Dataset:
    words = (pixels & 0xFFFF).astype(f"u{depth[0] // 8}")
    data = words.tobytes() + bytes(words.nbytes % 2)
    return film(words, BitsStored=depth[1], PixelRepresentation=int(signed), PixelData=data)


@each_depth
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("command", LOSSLESS, ids=" ".join)
def test_what_dcmtk_packs_without_loss_comes_back(
    command: tuple[str, ...], depth: tuple[int, int], signed: bool, encoders: Peers, tmp_path: Path
) -> None:
    pixels = picture(depth[1], signed=signed)
    plain, packed = save(made(pixels, depth, signed=signed), tmp_path), tmp_path / "packed.dcm"
    program, *options = command
    ended = encoders.run(program, *options, plain, packed)
    assert ended.returncode == 0, ended.stderr
    assert dcmread(packed).file_meta.TransferSyntaxUID in CODINGS
    assert np.array_equal(read_stored_pixels(packed).pixels, as_stored(pixels, depth[1]))


@pytest.mark.parametrize(
    ("command", "depth", "error"),
    [
        (("dcmcjpeg", "+eb"), (8, 8), 12),
        (("dcmcjpeg", "+ee", "+q", "98"), (16, 12), 160),
        (("dcmcjpls", "+en", "+md", "2"), (8, 8), 2),
        (("dcmcjpls", "+en", "+md", "3"), (16, 12), 3),
        (("dcmcjpls", "+en", "+md", "5"), (16, 16), 5),
    ],
    ids=str,
)
def test_what_dcmtk_packs_with_loss_stays_within_its_error(
    command: tuple[str, ...], depth: tuple[int, int], error: int, encoders: Peers, tmp_path: Path
) -> None:
    pixels = np.linspace(0, (1 << depth[1]) - 1, 75 * 131).round().astype(np.int64).reshape(75, 131)
    plain, packed = save(made(pixels, depth), tmp_path), tmp_path / "packed.dcm"
    program, *options = command
    assert encoders.run(program, *options, plain, packed).returncode == 0
    assert np.abs(read_stored_pixels(packed).pixels - pixels).max() <= error


@each_depth
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("name", ["JPEGLSLossless", "JPEG2000Lossless"])
def test_what_gdcm_packs_without_loss_comes_back(
    name: str, depth: tuple[int, int], signed: bool, tmp_path: Path
) -> None:
    pixels = picture(depth[1], signed=signed)
    plain, packed = save(made(pixels, depth, signed=signed), tmp_path), tmp_path / "packed.dcm"
    command = [sys.executable, "-m", "tests.support.gdcm_packs", name, str(plain), str(packed)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert np.array_equal(read_stored_pixels(packed).pixels, as_stored(pixels, depth[1]))


@pytest.mark.data
def test_real_files_have_the_values_that_dcmtk_unpacks(test_data: Path, encoders: Peers, tmp_path: Path) -> None:
    """12-bit JPEG too, and the one whose scan header pylibjpeg refuses: no second decoder is needed behind the first."""
    compared, refused, plain = 0, [], tmp_path / "plain.dcm"
    for path in sorted(path for path in (test_data / "dicom").rglob("*") if path.is_file()):
        with suppress(FilmError):
            stored = read_stored_pixels(path)
            coding = CODINGS.get(read_facts(path).transfer_syntax_uid)
            if coding not in DECODERS or not stored.header.is_grey:
                continue
            if encoders.run(DECODERS[coding], path, plain).returncode:
                refused.append(path.name.rpartition("__")[2])
                continue
            theirs = pixel_array(plain, raw=True).astype(int) & stored.header.mask
            assert np.array_equal(stored.pixels, theirs), path.name
            compared += 1
    assert compared > 20
    # of 7 bits, which dcmtk's decoder of JPEG-LS does not take
    assert refused == ["JLSL_08_07_0_1F.dcm"]
