"""Step 4: due tasks become hints for workers.

In: task rows. Out: messages that name a lane with work.
May import: db and the top modules of `worker`.
"""
