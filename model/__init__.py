"""Films in, probabilities out: the network, how it is trained, packed, measured and run."""

from __future__ import annotations
