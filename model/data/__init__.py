"""Labelled films on disk: lists, splits by patient, pixels, style and digests; the rule by which CSV lists are read.

In: a folder or a CSV file. Out: pictures with labels and patients.
May import: statistics and the modules of `model` itself.
"""
