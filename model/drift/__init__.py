"""Whether the films and answers of a site are still those of a reference; of no step of the flow.

In: histograms of days. Out: a verdict for each device, and a picture of it.
May import: `model.serving`, `model.statistics`, `model.input_statistics`, `model.notice`. No package of the extra `evaluate`.
"""

from __future__ import annotations
