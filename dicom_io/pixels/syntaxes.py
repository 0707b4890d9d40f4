"""Step 6a of the flow: the codings of pixel data that Auscult reads, and the one decoder of each.

pydicom uses whichever plug-in is installed, and two decoders of one lossy coding differ in the last bits, so the same
film would get two scores. Here each coding has exactly one decoder, its name is recorded with every result, and a
transfer syntax that is not in the table is refused.

There is no second decoder to fall back on, because none was found that correctly reads what the first one refuses.
libjpeg-turbo reads all 12-bit files of the WG04 collection, also those whose scan header pylibjpeg refuses (Se is 0),
with the same values as GDCM and dcmtk. GDCM decodes a 12-bit stream whose header says 16 bits wrongly, and a stream of
10 bits ends its process.
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Decoder(StrEnum):
    """The decoder that read the pixels of a film; recorded with each result, because decoders differ in the last bits."""

    NUMPY = "numpy"
    PACKBITS = "packbits"
    ZLIB = "zlib"
    LIBJPEG_TURBO = "libjpeg-turbo"
    CHARLS = "CharLS"
    OPENJPEG = "OpenJPEG"
    OPENJPH = "OpenJPH"
    #: JPEG and PNG pictures that are not DICOM objects.
    PILLOW = "Pillow"
    #: PNG pictures of 16 bits.
    LIBPNG = "libpng"


class Coding(Enum):
    """How pixel data are coded."""

    #: Uncompressed: numpy.
    NATIVE = "native"
    #: RLE Lossless: imagecodecs' packbits.
    RLE = "rle"
    #: Deflated frames: zlib.
    DEFLATED = "deflated"
    #: JPEG baseline, extended (12 bits) and lossless: imagecodecs' libjpeg-turbo 3.
    JPEG = "jpeg"
    #: JPEG-LS: imagecodecs' CharLS.
    JPEG_LS = "jpeg-ls"
    #: JPEG 2000: imagecodecs' OpenJPEG.
    JPEG_2000 = "jpeg-2000"
    #: High-throughput JPEG 2000: imagecodecs' OpenJPH.
    HTJ2K = "htj2k"


#: Transfer syntax UID -> coding (PS3.6 table A-1).
CODINGS: dict[str, Coding] = {
    "1.2.840.10008.1.2": Coding.NATIVE,
    "1.2.840.10008.1.2.1": Coding.NATIVE,
    "1.2.840.10008.1.2.1.99": Coding.NATIVE,
    "1.2.840.10008.1.2.2": Coding.NATIVE,
    "1.2.840.10008.1.2.5": Coding.RLE,
    "1.2.840.10008.1.2.8.1": Coding.DEFLATED,
    "1.2.840.10008.1.2.4.50": Coding.JPEG,
    "1.2.840.10008.1.2.4.51": Coding.JPEG,
    "1.2.840.10008.1.2.4.57": Coding.JPEG,
    "1.2.840.10008.1.2.4.70": Coding.JPEG,
    "1.2.840.10008.1.2.4.80": Coding.JPEG_LS,
    "1.2.840.10008.1.2.4.81": Coding.JPEG_LS,
    "1.2.840.10008.1.2.4.90": Coding.JPEG_2000,
    "1.2.840.10008.1.2.4.91": Coding.JPEG_2000,
    "1.2.840.10008.1.2.4.201": Coding.HTJ2K,
    "1.2.840.10008.1.2.4.202": Coding.HTJ2K,
    "1.2.840.10008.1.2.4.203": Coding.HTJ2K,
}


def is_decodable(transfer_syntax_uid: str) -> bool:
    """Whether pixel data of this transfer syntax can be read; True for "", where the coding is detected instead."""
    return not transfer_syntax_uid or transfer_syntax_uid in CODINGS
