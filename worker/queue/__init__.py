"""Step 4: due tasks become hints for workers.

In: task rows. Out: messages that carry task ids.
May import: db and the top modules of `worker`.
"""
