"""Pages of HTML that a person opens: what is known of a study, and how a period went.

In: a study, or a period. Out: one page of HTML that refers to nothing outside itself. Nothing is written from here.
May import: `results`, `batches`, `models`, `db`, and the elements and the style sheet of `model.reports`.
"""
