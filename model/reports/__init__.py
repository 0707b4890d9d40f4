"""Reports as pages of HTML, with charts as inline SVG.

In: an evaluation, comparison, inspection or acceptance. Out: one page that stands alone.
May import: every room of `model` but training.
"""
