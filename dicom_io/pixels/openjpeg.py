"""Step 6a of the flow: a part of a JPEG 2000 picture at its full resolution, by OpenJPEG.

Neither Pillow nor imagecodecs decodes a part of a picture, but Pillow links OpenJPEG, which does: its functions are
called here as its header ``openjpeg.h`` declares them. They are looked up through Pillow's own module, so it is the
library that decodes lower resolutions for ``wavelet``, wherever it was installed.
"""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from ctypes import CFUNCTYPE, POINTER, byref, c_int, c_int32, c_int64, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import _imaging

from dicom_io.errors import FilmError
from dicom_io.reasons import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CODE_STREAM, _INPUT = 0, 1
#: More than the structure of parameters has in any version: OpenJPEG fills it in and reads it, nobody else looks at it.
_PARAMETERS_BYTES = 1 << 15
_BUFFER_BYTES = 1 << 16
_NOTHING_LEFT = c_size_t(-1).value
_Read = CFUNCTYPE(c_size_t, c_void_p, c_size_t, c_void_p)
_Skip = CFUNCTYPE(c_int64, c_int64, c_void_p)
_Seek = CFUNCTYPE(c_int, c_int64, c_void_p)


class _Component(ctypes.Structure):
    """``opj_image_comp_t``."""

    _fields_ = [
        *((name, c_uint32) for name in ("dx", "dy", "w", "h", "x0", "y0", "prec", "bpp", "sgnd")),
        *((name, c_uint32) for name in ("resno_decoded", "factor")),
        ("data", POINTER(c_int32)),
        ("alpha", c_uint16),
    ]


class _Image(ctypes.Structure):
    """``opj_image_t``."""

    _fields_ = [
        *((name, c_uint32) for name in ("x0", "y0", "x1", "y1", "numcomps")),
        ("color_space", c_int),
        ("comps", POINTER(_Component)),
        ("icc_profile_buf", c_void_p),
        ("icc_profile_len", c_uint32),
    ]


#: Result and parameters of each function.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "opj_create_decompress": (c_void_p, c_int),
    "opj_set_default_decoder_parameters": (None, c_void_p),
    "opj_setup_decoder": (c_int, c_void_p, c_void_p),
    "opj_stream_create": (c_void_p, c_size_t, c_int),
    "opj_stream_set_read_function": (None, c_void_p, _Read),
    "opj_stream_set_skip_function": (None, c_void_p, _Skip),
    "opj_stream_set_seek_function": (None, c_void_p, _Seek),
    "opj_stream_set_user_data_length": (None, c_void_p, c_uint64),
    "opj_read_header": (c_int, c_void_p, c_void_p, POINTER(POINTER(_Image))),
    "opj_set_decode_area": (c_int, c_void_p, POINTER(_Image), c_int32, c_int32, c_int32, c_int32),
    "opj_decode": (c_int, c_void_p, c_void_p, POINTER(_Image)),
    "opj_image_destroy": (None, POINTER(_Image)),
    "opj_stream_destroy": (None, c_void_p),
    "opj_destroy_codec": (None, c_void_p),
}


@lru_cache(maxsize=1)
def _library() -> Any:
    # the functions of the libraries that a module is linked to are found through the module
    library = ctypes.CDLL(_imaging.__file__)
    for name, (result, *parameters) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, parameters
    return library


class CodeStream:
    """A JPEG 2000 code stream of one unsigned component in one tile at the origin, of which parts are decoded.

    A context manager. Parts that share blocks of the code stream share the work of decoding them.

    Parameters
    ----------
    data : bytes
        The code stream, checked by ``codestream_j2k``.

    Raises
    ------
    FilmError
        DECODE_FAILED if OpenJPEG refuses it.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        # OpenJPEG keeps pointers to these three
        self._calls = _Read(self._read), _Skip(self._skip), _Seek(self._seek)
        self._image: Any = POINTER(_Image)()
        self._codec: int | None = None
        self._stream: int | None = None
        self._library = _library()
        with ExitStack() as undo:
            undo.callback(self.close)
            self._open()
            undo.pop_all()

    def __enter__(self) -> Self:
        """Return the code stream itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free what OpenJPEG holds."""
        self.close()

    def window(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint16]:
        """Decode a part.

        Parameters
        ----------
        top, left, bottom, right : int
            The first row and column, and those behind the last, from 0.

        Returns
        -------
        numpy.ndarray
            Shape (bottom - top, right - left): the values that decoding the whole picture gives there.

        Raises
        ------
        FilmError
            DECODE_FAILED, or TOO_LARGE without memory for it.
        """
        library, image = self._library, self._image
        found = library.opj_set_decode_area(self._codec, image, left, top, right, bottom)
        if not found or not library.opj_decode(self._codec, self._stream, image):
            raise FilmError(Reason.DECODE_FAILED)
        component = image.contents.comps[0]
        if (component.h, component.w) != (bottom - top, right - left) or not component.data:
            raise FilmError(Reason.DECODE_FAILED)
        # astype copies, since the next part takes the memory
        return np.ctypeslib.as_array(component.data, (component.h, component.w)).astype(np.uint16)

    def close(self) -> None:
        """Free what OpenJPEG holds; may be called more than once."""
        library = self._library
        if self._image:
            library.opj_image_destroy(self._image)
        if self._stream:
            library.opj_stream_destroy(self._stream)
        if self._codec:
            library.opj_destroy_codec(self._codec)
        self._image, self._codec, self._stream = POINTER(_Image)(), None, None

    def _open(self) -> None:
        library = self._library
        self._codec = library.opj_create_decompress(_CODE_STREAM)
        self._stream = library.opj_stream_create(_BUFFER_BYTES, _INPUT)
        if not self._codec or not self._stream:
            raise FilmError(Reason.TOO_LARGE)
        parameters = ctypes.create_string_buffer(_PARAMETERS_BYTES)
        library.opj_set_default_decoder_parameters(parameters)
        read, skip, seek = self._calls
        library.opj_stream_set_read_function(self._stream, read)
        library.opj_stream_set_skip_function(self._stream, skip)
        library.opj_stream_set_seek_function(self._stream, seek)
        library.opj_stream_set_user_data_length(self._stream, len(self._data))
        is_set_up = library.opj_setup_decoder(self._codec, parameters)
        if not is_set_up or not library.opj_read_header(self._stream, self._codec, byref(self._image)):
            raise FilmError(Reason.DECODE_FAILED)
        if self._image.contents.numcomps != 1:
            raise FilmError(Reason.DECODE_FAILED)

    def _read(self, buffer: int, size: int, _: int | None) -> int:
        part = self._data[self._at : self._at + size]
        if not part:
            return _NOTHING_LEFT
        ctypes.memmove(buffer, part, len(part))
        self._at += len(part)
        return len(part)

    def _skip(self, count: int, _: int | None) -> int:
        self._at = min(len(self._data), self._at + max(0, count))
        return count

    def _seek(self, place: int, _: int | None) -> int:
        is_inside = 0 <= place <= len(self._data)
        if is_inside:
            self._at = place
        return int(is_inside)
