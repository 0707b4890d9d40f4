"""Maps of the evidence that a network sees on a film, and tests of whether such maps can be trusted.

In: a film and a bundle. Out: a map in logits.
May import: serving, operating, data and the modules of `model` itself.
"""
