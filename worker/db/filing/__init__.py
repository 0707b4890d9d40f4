"""Objects become rows, and conflicts are decided.

Step 3. In: a received object, or what another system says of a study. Out: rows for study, image and task.
May import: tasks, answers, identity, models, schema.
"""
