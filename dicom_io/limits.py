"""Sizes beyond which a picture is not looked at."""

from __future__ import annotations

#: A film whose shortest side is below is too small to show what the model looks for.
MIN_SIDE_PX = 128
#: No single radiograph has more pixels (a detector of 43 cm at 0.1 mm has 18.5 million): what declares more is an attack
#: or damaged. The decoders' memory stays below about 1 GB even in colour.
MAX_PIXELS = 64_000_000
#: Its values as they are stored: three samples of 16 bits.
MAX_PIXEL_BYTES = 6 * MAX_PIXELS
#: No file that could hold so many pixels is larger.
MAX_FILE_BYTES = 1 << 30
#: Marker segments, boxes or tile parts of one code stream, fill bytes of JPEG included, and fragments of one frame. Each
#: costs a step in Python, and a kilobyte of a deflated file holds half a million of them.
MAX_SEGMENTS = 1 << 16
