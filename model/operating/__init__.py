"""The operating point: calibration, threshold, bands and the stress table, from held-out logits alone.

In: logits and labels. Out: an operating point and its figures.
May import: augmentation, data, statistics, config and the modules of `model` itself.
"""
