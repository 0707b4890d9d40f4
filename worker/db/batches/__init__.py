"""Work on many films at once: selections, re-runs, suspensions and what they change.

Outside the flow, by command. In: a selector. Out: a batch with its tasks, some thousand films a transaction.
May import: tasks, answers, identity, models, schema.
"""
