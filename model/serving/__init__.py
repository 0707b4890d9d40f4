"""Step 7: bundles, the engines that run their networks, and the classifier that scores films.

In: a film. Out: a score with probability, label, band and unlikeness.
May import: card, operating, network, data, statistics, config and the modules of `model` itself.
"""
