"""What people say of the answers, how these change, and what a program that reads the views has to know.

In: arguments. Out: text, JSON, CSV and exit codes.
May import: `worker.cli.common` and everything below `worker.cli`.
"""

from __future__ import annotations
