"""The models (networks, not mapped classes) that the database knows, and which of them is active, shadow or retired.

Before step 3: each new image is scored by the active model. In: facts of a bundle. Out: rows of `model`, `model_event`.
May import: schema.
"""
