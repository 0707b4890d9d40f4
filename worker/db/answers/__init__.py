"""What the row of a study says: results, completeness and the answer.

Step 8. In: results of films. Out: the columns of `study` that the worklist shows.
May import: identity, models, schema.
"""
