"""Tasks: created, hinted at, claimed, renewed and finished, and the workers that do them.

Steps 4, 5 and 8. In: images that need a score. Out: claimed and finished tasks.
May import: answers, identity, models, schema.
"""
