"""The model card: what is known of a bundle, as Markdown for people.

In: the description of a bundle. Out: text.
May import: augmentation and the modules of `model` itself.
"""
