"""Changed films: random variants for training, and fixed changes that test a network.

In: films. Out: changed films, and batches of them.
May import: data, config and the modules of `model` itself.
"""
