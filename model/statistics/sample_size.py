"""How many films a share must be measured on: Wilson's interval solved for the number of trials.

Piegorsch (Stat Med 2004;23:3195-3211) has the formulas, Buderer (Acad Emerg Med 1996;3:895-900) why sensitivity and
specificity each count the films of their own label. Films of one child are alike, so each film counted here is of
another child.
"""

from __future__ import annotations

import math

from model.statistics.intervals import Z95


def films_for_half_width(share: float, half_width: float) -> int:
    """Films at which Wilson's 95 % interval is no wider than twice ``half_width``.

    Parameters
    ----------
    share : float
        Expected share, in [0, 1].
    half_width : float
        In (0, 0.5).

    Returns
    -------
    int
        At least 1.
    """
    # (n + z^2)^2 w^2 = z^2 n p(1-p) + z^4/4, solved for n + z^2.
    square = Z95 * Z95
    spread = share * (1 - share)
    middle = square * spread / (2 * half_width**2)
    rest = square**2 * (0.25 - spread) / half_width**2
    return max(1, math.ceil(middle + math.sqrt(middle**2 + rest) - square - 1e-9))


def films_for_lower_bound(share: float, bound: float) -> int | None:
    """Films at which the lower end of Wilson's 95 % interval reaches ``bound``.

    Parameters
    ----------
    share : float
        Expected share, in [0, 1].
    bound : float
        In (0, 1).

    Returns
    -------
    int or None
        None where the share itself is not above the bound: then more films do not help.
    """
    if share <= bound:
        return None
    return max(1, math.ceil(Z95 * Z95 * bound * (1 - bound) / (share - bound) ** 2 - 1e-9))
