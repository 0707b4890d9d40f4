"""Films in, probabilities out: the network, how it is trained, packed, measured and run.

Every room imports only rooms below it. From below: statistics, data, config, network, augmentation, operating, card,
serving, explanation, evaluation, inspection, then acceptance and training, then reports.
"""

from __future__ import annotations
