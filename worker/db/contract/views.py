"""Every public view, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.db.contract import delivery, drift, identity, readers, results, site, worklist
from worker.db.contract.column import View

if TYPE_CHECKING:
    from types import ModuleType


def _views_in(module: ModuleType) -> list[View]:
    return [value for value in vars(module).values() if isinstance(value, View)]


#: In the order in which they are described: what a worklist needs first.
VIEWS = {
    view.name: view
    for module in (worklist, results, delivery, readers, drift, identity, site)
    for view in _views_in(module)
}
