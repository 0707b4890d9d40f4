"""Every coding, depth and sign of radiographs, written by an encoder that is not ours and read back."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.pixels.encoders.base import RLELosslessEncoder

from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom
from dicom_io.pixels.decode import read_stored_pixels
from dicom_io.pixels.syntaxes import CODINGS, Coding
from dicom_io.reasons import Reason
from tests.support.films import declare, film, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, DEFLATED_FRAME, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.5"
JPEG, JPEG_12, JPEG_14, JPEG_SV1 = (f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 57, 70))
JPEG_LS, JPEG_LS_NEAR, J2K_LOSSLESS, J2K = (f"1.2.840.10008.1.2.4.{last}" for last in (80, 81, 90, 91))
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K = (f"1.2.840.10008.1.2.4.{last}" for last in (201, 202, 203))
# younger than pydicom's dictionary
JPEG_XL = [f"1.2.840.10008.1.2.4.{last}" for last in (110, 111, 112)]
#: (BitsAllocated, BitsStored)
DEPTHS = [(8, 8), (16, 8), (16, 10), (16, 12), (16, 14), (16, 15), (16, 16)]
SHAPE = (40, 56)


def values(bits: int, *, signed: bool, seed: int = 5) -> NDArray[np.int64]:
    """A picture with every extreme of the stored bits, noise, and a smooth part."""
    low = -(1 << (bits - 1)) if signed else 0
    ramp = np.linspace(low, low + (1 << bits) - 1, SHAPE[0] * SHAPE[1]).round().reshape(SHAPE)
    noise = np.random.default_rng(seed).integers(low, low + (1 << bits), (8, SHAPE[1]))
    return np.vstack((ramp[:-8], noise)).astype(np.int64)


def as_stored(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """The low bits of each value, as `read_stored_pixels` gives them."""
    return (pixels.astype(np.int64) & ((1 << bits) - 1)).astype(np.uint16)


def made(pixels: NDArray[Any], syntax: str, depth: tuple[int, int], *, signed: bool, **elements: Any) -> Dataset:
    allocated, stored = depth
    in_words = as_stored(pixels, 16).astype(f"u{allocated // 8}")
    return film(in_words, syntax=syntax, BitsStored=stored, PixelRepresentation=int(signed), **elements)


def encapsulated(ds: Dataset, *fragments: bytes, has_table: bool = False) -> Dataset:
    """The data set with its one frame in these fragments."""
    table = b"\xfe\xff\x00\xe0" + ((4).to_bytes(4, "little") + bytes(4) if has_table else bytes(4))
    items = [b"\xfe\xff\x00\xe0" + len(part).to_bytes(4, "little") + part for part in map(padded, fragments)]
    ds.PixelData = table + b"".join(items)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def padded(code: bytes) -> bytes:
    return code + bytes(len(code) % 2)


def deflate(pixels: NDArray[Any]) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(pixels.tobytes()) + machine.flush()


def jpeg_lossless(predictor: int) -> Callable[[NDArray[Any], int], bytes]:
    def encode(pixels: NDArray[Any], bits: int) -> bytes:
        unsigned = as_stored(pixels, bits).astype(np.uint8 if bits == 8 else np.uint16)
        return bytes(imagecodecs.jpeg8_encode(unsigned, lossless=True, predictor=predictor, bitspersample=bits))

    return encode


def jpeg_ls(pixels: NDArray[Any], bits: int) -> bytes:
    return bytes(imagecodecs.jpegls_encode(as_stored(pixels, bits).astype(np.uint8 if bits == 8 else np.uint16)))


def j2k(pixels: NDArray[Any], bits: int) -> bytes:
    kind = ("i" if pixels.min() < 0 else "u") + ("1" if bits == 8 else "2")
    return bytes(
        imagecodecs.jpeg2k_encode(
            pixels.astype(kind), codecformat="j2k", reversible=True, level=0, bitspersample=bits, resolutions=3
        )
    )


def htj2k(pixels: NDArray[Any], bits: int) -> bytes:
    kind = ("i" if pixels.min() < 0 else "u") + ("1" if bits == 8 else "2")
    return bytes(imagecodecs.htj2k_encode(pixels.astype(kind), reversible=True))


LOSSLESS: list[tuple[str, Callable[[NDArray[Any], int], bytes]]] = [
    *((JPEG_14, jpeg_lossless(predictor)) for predictor in range(1, 8)),
    (JPEG_SV1, jpeg_lossless(1)),
    (JPEG_LS, jpeg_ls),
    (JPEG_LS_NEAR, jpeg_ls),
    (J2K_LOSSLESS, j2k),
    (J2K, j2k),
    (HTJ2K_LOSSLESS, htj2k),
    (HTJ2K_RPCL, htj2k),
    (HTJ2K, htj2k),
]
LOSSLESS_IDS = [*(f"14-{predictor}" for predictor in range(1, 8)), "sv1", "ls", "ls near", "j2k ll", "j2k"]
LOSSLESS_IDS += ["htj2k ll", "htj2k rpcl", "htj2k"]

each_depth = pytest.mark.parametrize("depth", DEPTHS, ids=[f"{stored} in {allocated}" for allocated, stored in DEPTHS])
each_sign = pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])


@each_depth
@each_sign
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_uncompressed_values_are_read(
    syntax: str, depth: tuple[int, int], signed: bool, photometric: str, tmp_path: Path
) -> None:
    pixels = values(depth[1], signed=signed)
    ds = made(pixels, syntax, depth, signed=signed, PhotometricInterpretation=photometric)
    big = ">" if syntax == BIG_ENDIAN else "<"
    ds.PixelData = as_stored(pixels, depth[0]).astype(f"{big}u{depth[0] // 8}").tobytes()
    stored = read_stored_pixels(save(ds, tmp_path))
    assert np.array_equal(stored.pixels, as_stored(pixels, depth[1]))
    assert (stored.header.is_signed, stored.header.photometric) == (signed, photometric)


@each_sign
@pytest.mark.parametrize("high_bit", [9, 11, 13, 15])
@pytest.mark.parametrize("coding", ["native", "rle", "deflated frame"])
def test_bits_beside_the_stored_ones_are_masked(coding: str, high_bit: int, signed: bool, tmp_path: Path) -> None:
    pixels = values(10, signed=signed)
    low = high_bit - 9
    rubbish = np.random.default_rng(1).integers(0, 1 << 16, SHAPE) & ~(0x3FF << low)
    words = ((as_stored(pixels, 10).astype(np.int64) << low) | rubbish).astype("<u2")
    elements: dict[str, Any] = {"BitsStored": 10, "HighBit": high_bit, "PixelRepresentation": int(signed)}
    if coding == "native":
        ds = film(words, **elements)
    elif coding == "rle":
        ds = encapsulated(film(words, syntax=RLE, **elements), rle(words))
    else:
        ds = encapsulated(film(words, syntax=DEFLATED_FRAME, **elements), deflate(words))
    assert np.array_equal(read_stored_pixels(save(ds, tmp_path)).pixels, as_stored(pixels, 10))


def rle(pixels: NDArray[Any]) -> bytes:
    return RLELosslessEncoder.encode(
        pixels.tobytes(),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples_per_pixel=1 if pixels.ndim == 2 else 3,
        number_of_frames=1,
        bits_allocated=pixels.dtype.itemsize * 8,
        bits_stored=pixels.dtype.itemsize * 8,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2" if pixels.ndim == 2 else "RGB",
        planar_configuration=0,
        encoding_plugin="pydicom",
    )


@each_depth
@each_sign
@pytest.mark.parametrize("coding", ["rle", "deflated frame"])
def test_frames_packed_without_loss_give_the_stored_values(
    coding: str, depth: tuple[int, int], signed: bool, tmp_path: Path
) -> None:
    pixels = values(depth[1], signed=signed)
    words = as_stored(pixels, depth[0]).astype(f"<u{depth[0] // 8}")
    syntax, encode = (RLE, rle) if coding == "rle" else (DEFLATED_FRAME, deflate)
    ds = encapsulated(made(pixels, syntax, depth, signed=signed), encode(words))
    assert np.array_equal(read_stored_pixels(save(ds, tmp_path)).pixels, as_stored(pixels, depth[1]))


@each_depth
@each_sign
@pytest.mark.parametrize(("syntax", "encode"), LOSSLESS, ids=LOSSLESS_IDS)
def test_a_lossless_coding_gives_the_stored_values(
    syntax: str, encode: Callable[..., bytes], depth: tuple[int, int], signed: bool, tmp_path: Path
) -> None:
    pixels = values(depth[1], signed=signed)
    ds = encapsulated(made(pixels, syntax, depth, signed=signed), encode(pixels, depth[1]))
    assert np.array_equal(read_stored_pixels(save(ds, tmp_path)).pixels, as_stored(pixels, depth[1]))


def smooth(bits: int) -> NDArray[Any]:
    ramp = np.linspace(0, (1 << bits) - 1, 160 * 256).reshape(160, 256)
    return ramp.round().astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize(
    ("syntax", "depth", "encode", "error"),
    [
        (JPEG, (8, 8), lambda a: imagecodecs.jpeg8_encode(a, level=95), 2),
        (JPEG, (16, 8), lambda a: imagecodecs.jpeg8_encode(a, level=95), 2),
        (JPEG_12, (8, 8), lambda a: imagecodecs.jpeg8_encode(a, level=95), 2),
        (JPEG_12, (16, 12), lambda a: imagecodecs.jpeg8_encode(a, level=98, bitspersample=12), 24),
        (JPEG_12, (16, 10), lambda a: imagecodecs.jpeg8_encode(a, level=98, bitspersample=12), 24),
        (JPEG_LS_NEAR, (8, 8), lambda a: imagecodecs.jpegls_encode(a, level=3), 3),
        (JPEG_LS_NEAR, (16, 12), lambda a: imagecodecs.jpegls_encode(a, level=3), 3),
        (JPEG_LS_NEAR, (16, 16), lambda a: imagecodecs.jpegls_encode(a, level=7), 7),
        (J2K, (8, 8), lambda a: imagecodecs.jpeg2k_encode(a, level=50, codecformat="j2k"), 6),
        (J2K, (16, 12), lambda a: imagecodecs.jpeg2k_encode(a, level=70, codecformat="j2k", bitspersample=12), 8),
        (J2K, (16, 16), lambda a: imagecodecs.jpeg2k_encode(a, level=70, codecformat="j2k"), 128),
        (HTJ2K, (8, 8), lambda a: imagecodecs.htj2k_encode(a, reversible=False, level=0.001), 2),
        (HTJ2K, (16, 16), lambda a: imagecodecs.htj2k_encode(a, reversible=False, level=0.0001), 64),
    ],
)
def test_a_lossy_coding_stays_within_its_error(
    syntax: str, depth: tuple[int, int], encode: Callable[..., bytes], error: int, tmp_path: Path
) -> None:
    pixels = smooth(depth[1])
    code = bytes(encode(pixels))
    ds = encapsulated(made(pixels, syntax, depth, signed=False), code)
    found = read_stored_pixels(save(ds, tmp_path)).pixels.astype(np.int64)
    assert np.abs(found - pixels).max() <= error


@pytest.mark.parametrize("syntax", sorted(uid for uid, coding in CODINGS.items() if coding is not Coding.NATIVE))
@pytest.mark.parametrize("fragments", [1, 2, 5, 200])
@pytest.mark.parametrize("has_table", [True, False], ids=["offset table", "no offsets"])
def test_a_frame_may_stand_in_any_number_of_fragments(
    syntax: str, fragments: int, has_table: bool, tmp_path: Path
) -> None:
    path = tmp_path / "film.dcm"
    pixels = np.random.default_rng(2).integers(0, 256, SHAPE, dtype=np.uint8)
    code = any_code(pixels, syntax)
    step = -(-len(code) // fragments) // 2 * 2 + 2
    parts = [code[at : at + step] for at in range(0, len(code), step)]
    whole = read_stored_pixels(save(encapsulated(film(pixels, syntax=syntax), code), tmp_path)).pixels
    save(encapsulated(film(pixels, syntax=syntax), *parts, has_table=has_table), tmp_path)
    assert np.array_equal(read_stored_pixels(path).pixels, whole)


def any_code(pixels: NDArray[Any], syntax: str) -> bytes:
    """Bytes coded in the one or other way that a transfer syntax allows."""
    if syntax in (JPEG_14, JPEG_SV1):
        return jpeg_lossless(1)(pixels, 8)
    encoders: dict[Coding, Callable[[], bytes]] = {
        Coding.RLE: lambda: rle(pixels),
        Coding.DEFLATED: lambda: deflate(pixels),
        Coding.JPEG: lambda: bytes(imagecodecs.jpeg8_encode(pixels, level=90)),
        Coding.JPEG_LS: lambda: jpeg_ls(pixels, 8),
        Coding.JPEG_2000: lambda: j2k(pixels, 8),
        Coding.HTJ2K: lambda: htj2k(pixels, 8),
    }
    return encoders[CODINGS[syntax]]()


@pytest.mark.parametrize("shape", [(41, 57), (57, 41), (1, 1), (3, 129)], ids=str)
@pytest.mark.parametrize(
    "syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, DEFLATED_FRAME, RLE, JPEG_SV1, JPEG_LS, J2K, HTJ2K]
)
def test_a_picture_of_odd_length_is_read(syntax: str, shape: tuple[int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    ds = film(pixels, syntax=syntax)
    if CODINGS[syntax] is Coding.NATIVE:
        ds.PixelData = padded(pixels.tobytes())
    else:
        if syntax == J2K:
            code = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, level=0, resolutions=1))
        else:
            code = any_code(pixels, syntax)
        encapsulated(ds, code)
    assert np.array_equal(read_stored_pixels(save(ds, tmp_path)).pixels, pixels)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["RGB", "RGB planes", "YBR_FULL", "palette", "segmented palette"])
def test_a_grey_capture_in_colour_has_the_film_of_the_grey(kind: str, bits: int, tmp_path: Path) -> None:
    grey = np.arange(200 * 256, dtype=np.uint32).reshape(200, 256).astype(np.uint8)
    plain = film_of_dicom(save(film(grey), tmp_path)).pixels
    if kind == "palette":
        ds = film(grey, PhotometricInterpretation="PALETTE COLOR", **palette(bits))
    elif kind == "segmented palette":
        ds = film(grey, PhotometricInterpretation="PALETTE COLOR", **segmented_palette(bits))
    else:
        neutral = [grey] * 3 if kind.startswith("RGB") else [grey, np.full_like(grey, 128), np.full_like(grey, 128)]
        pixels = np.dstack(neutral).astype(f"u{bits // 8}") << (bits - 8)
        ds = film(pixels, PhotometricInterpretation=kind.removesuffix(" planes"))
        if kind == "RGB planes":
            ds.PlanarConfiguration = 1
            ds.PixelData = np.moveaxis(pixels, -1, 0).tobytes()
    assert np.array_equal(film_of_dicom(save(ds, tmp_path)).pixels, plain)


def palette(bits: int) -> dict[str, Any]:
    entries = np.arange(256) if bits == 8 else np.arange(256) * 257
    data = entries.astype(f"<u{bits // 8}").tobytes()
    elements: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        elements[f"{colour}PaletteColorLookupTableData"] = data
    return elements


def segmented_palette(bits: int) -> dict[str, Any]:
    """A discrete segment of 0, a linear one to the half, an indirect copy of nothing new, and a linear one to white."""
    top = 255 if bits == 8 else 65535
    half = 128 if bits == 8 else 128 * 257
    words = [0, 1, 0, 1, 128, half, 1, 127, top]
    data = np.array(words, dtype=f"<u{bits // 8}").tobytes()
    elements: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        elements[f"Segmented{colour}PaletteColorLookupTableData"] = padded(data)
    return elements


def refused() -> list[str]:
    """Every transfer syntax of the standard's tables that is not read, and some that are in none."""
    standard = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
    others = [*JPEG_XL, "1.2.840.113619.5.2", "1.2.826.0.1.3680043.2.494.1.1", "1.2.3"]
    return sorted({*standard, *others} - set(CODINGS))


@pytest.mark.parametrize("syntax", refused())
def test_a_transfer_syntax_outside_the_table_is_refused_by_name(syntax: str, tmp_path: Path) -> None:
    pixels = values(12, signed=False)
    ds = encapsulated(made(pixels, JPEG_SV1, (16, 12), signed=False), jpeg_lossless(1)(pixels, 12))
    with pytest.raises(FilmError) as caught:
        film_of_dicom(declare(save(ds, tmp_path), syntax))
    assert caught.value.reason is Reason.UNSUPPORTED_TRANSFER_SYNTAX


def test_the_retired_and_the_moving_are_among_those_refused() -> None:
    retired = {f"1.2.840.10008.1.2.4.{last}" for last in (*range(52, 57), *range(58, 67))}
    moving = {f"1.2.840.10008.1.2.4.{last}" for last in range(100, 109)}
    jpip = {f"1.2.840.10008.1.2.4.{last}" for last in (94, 95, 204, 205)}
    smpte = {f"1.2.840.10008.1.2.7.{last}" for last in (1, 2, 3)}
    assert retired | set(JPEG_XL) | moving | jpip | smpte <= set(refused())
