"""How many films a worker claims at once, from how long the films before took."""

from __future__ import annotations

#: The time that one take is to last, in seconds.
TAKE_S = 0.25
#: The most films in a take.
MOST = 16


class TakeSize:
    """How many films a take holds, from how long the films before took."""

    def __init__(self) -> None:
        #: A process begins with one film: it may have been started because of a film that ends processes.
        self.films = 1

    def took(self, films: int, seconds: float) -> None:
        """Learn from a take; the next one holds twice as many films at most."""
        if films:
            self.films = max(1, min(2 * self.films, MOST, int(TAKE_S * films / max(seconds, 1e-6))))
