"""Groups of things that are linked, directly or through others."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    T = TypeVar("T", bound=Hashable)


def joined(things: Iterable[T], links: Iterable[tuple[T, T]]) -> list[list[T]]:
    """Group things that are linked (connected components).

    Parameters
    ----------
    things : iterable of hashable
        Each once.
    links : iterable of (thing, thing)
        Pairs that belong together; both are among ``things``.

    Returns
    -------
    list of list
        Each thing in one group, in the order of ``things``; the groups in the order of their first thing.
    """
    leader: dict[T, T] = {}

    def find(thing: T) -> T:
        while (above := leader.get(thing, thing)) != thing:
            leader[thing] = leader.get(above, above)
            thing = above
        return thing

    for first, second in links:
        leader[find(second)] = find(first)
    groups: dict[T, list[T]] = defaultdict(list)
    for thing in things:
        groups[find(thing)].append(thing)
    return list(groups.values())
