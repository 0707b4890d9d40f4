"""Whose film is it? Objects are assigned to rows of studies: patients, versions, conflicts.

Step 3. In: the facts of an object. Out: the row it counts in.
May import: schema.
"""
