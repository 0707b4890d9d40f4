"""The public views as a contract: each column with its type, unit, meaning, what NULL says and an example; no step of the flow.

In: nothing. Out: `VIEWS`, from which come the tables of the code, the comments in PostgreSQL, `auscult sql describe` and the
page of the views.
May import: nothing of `worker`.
"""

from __future__ import annotations
