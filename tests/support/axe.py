"""What axe, the checker of accessibility, finds wrong with a page in a real browser: WCAG 2.0 and 2.1, levels A and AA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.npm import AXE, part_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.devtools import Tab

_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
#: A page that was checked by nothing must not count as one without errors.
LEAST_RULES = 8


def violations(tab: Tab, page: Path, scheme: str, *, least_rules: int = LEAST_RULES) -> list[str]:
    """Each rule that a page breaks in the colours of a scheme, with the elements that break it."""
    tab.open(page.as_uri(), scheme=scheme)
    tab.run(f"{part_of(AXE).read_text(encoding='utf-8')};1")
    found = tab.run(
        f"axe.run({{runOnly: {list(_RULES)}}}).then(done => [done.passes.length, done.violations.map("
        "rule => rule.id + ': ' + rule.nodes.map(node => node.target + ' ' + node.failureSummary).join(' | '))])"
    )
    assert found[0] >= least_rules
    return [str(each) for each in found[1]]
