"""Training of a network, and its export as a bundle.

In: labelled films and a configuration. Out: a run folder, then a bundle.
May import: every room of `model` but evaluation, inspection, acceptance and reports.
"""
