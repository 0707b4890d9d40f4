"""What a set of labelled films holds, and what in it could mislead a network.

In: labelled films. Out: duplicates, probes and shortcuts.
May import: evaluation, data, statistics and the modules of `model` itself.
"""
