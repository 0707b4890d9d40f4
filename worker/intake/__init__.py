"""Step 3 in SQL: objects of the inbox become rows for study, image and task.

In: entries of the inbox. Out: rows, and originals in the store.
May import: models, queue, health, db and the top modules of `worker`.
"""
