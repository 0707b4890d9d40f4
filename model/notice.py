"""The notice that every result and every report carries."""

from __future__ import annotations

NOTICE = "Not a medical device. Not for diagnosis."
