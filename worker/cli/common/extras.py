"""Whether the optional packages are installed that a command of `auscult model` needs."""

from __future__ import annotations

from importlib.util import find_spec

from worker.errors import UsageError

#: Top-level modules of the extra `evaluate` of pyproject.toml.
EVALUATE = ("jinja2", "scipy", "sklearn")


def check_evaluate() -> None:
    """Check that the extra `evaluate` is installed, before any film is read; raises UsageError if it is not."""
    if any(find_spec(name) is None for name in EVALUATE):
        msg = "this command needs the extra 'evaluate', which serving does not: run pip install '.[evaluate]' in the checkout"
        raise UsageError(msg)
