"""Whether a bundle is right on a site's own films, and an operating point for that site.

In: labelled films. Out: an acceptance, and a bundle of the site where a gain is proven.
May import: evaluation, serving, operating, card, statistics and the modules of `model` itself.
"""
