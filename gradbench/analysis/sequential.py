"""Tests of paired differences that may be repeated as more pairs arrive.

Each returns a p-value that stays valid however often it is computed and whenever the last pair is
drawn: if the hypothesis holds, the probability that it is ever at most p is at most p.
"""

from collections.abc import Sequence

import numpy as np

STAKES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Weights of a difference. Large ones gain most where differences vary little, small ones where
they vary much; their mean is as valid as each."""


def anytime_p(differences: Sequence[float]) -> float:
    """P-value that paired differences are symmetric about 0 or below, against a mean above 0.

    If a difference d is as likely as -d, exp(s d) / cosh(s d) has mean 1 for every stake s, so the
    product over the pairs is a fair game's capital, and so is the mean over stakes. It exceeds 1/p
    at any time with probability at most p. Pairs may arrive in any order that does not depend on
    their signs. n equal differences give at least 2^-n.
    Sources: J. Ville, Etude critique de la notion de collectif (1939); V. H. de la Pena, Annals of
    Probability 27 (1999) 537-564; A. Ramdas et al., Statistical Science 38 (2023) 576-601.

    >>> anytime_p([])
    1.0
    """
    d = np.asarray(differences, dtype=float)
    each = [float(np.sum(np.log(2) - np.logaddexp(0.0, -2 * s * d))) for s in STAKES]
    capital = float(np.logaddexp.reduce(each)) - np.log(len(STAKES))
    return float(np.exp(-max(0.0, capital)))
