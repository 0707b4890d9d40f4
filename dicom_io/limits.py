"""Sizes beyond which a picture is not decoded."""

from __future__ import annotations

#: Shortest side of a film, pixels; a smaller one does not show what the model needs.
MIN_SIDE_PX = 128
#: Most pixels of a film. No radiograph has more (a detector of 43 cm at 0.1 mm has 18.5 million); a header that declares
#: more is damaged or an attack. The decoders' memory stays below about 1 GB even in colour.
MAX_PIXELS = 64_000_000
#: Most bytes of its stored values: three samples of 16 bits for each pixel.
MAX_PIXEL_BYTES = 6 * MAX_PIXELS
#: Most bytes of a file; a file with `MAX_PIXELS` is smaller.
MAX_FILE_BYTES = 1 << 30
#: Most marker segments, boxes or tile parts of one code stream, including fill bytes of JPEG, and most fragments of one
#: frame. Each costs a step in Python, and a kilobyte of a deflated file can hold half a million.
MAX_SEGMENTS = 1 << 16
