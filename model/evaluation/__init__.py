"""How good a network is on labelled films, and how two networks compare.

In: a bundle and labelled films. Out: figures with intervals by patient.
May import: serving, operating, augmentation, data, statistics and the modules of `model` itself.
"""
