"""What a ranker says of the best names of boxes, joined with their cosines."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Ranking(NamedTuple):
    """What a ranker says of the best names of n boxes.

    Attributes:
        names: (n, k) int64 columns of the names, those of the competitors after them;
            the best of the pre-ranking first.
        odds: (n, k) float32, log of the odds that box and name match.
    """

    names: Tensor
    odds: Tensor

    def of(self, boxes: Tensor) -> Ranking:
        """That of some of the boxes, (m,) indices."""
        return Ranking(self.names[boxes], self.odds[boxes])


def ranked_cosines(
    cosines: Tensor, ranking: Ranking, num_ranked: int, weight: float
) -> Tensor:
    """Cosines of the pre-ranking plus the weighted log-odds of the ranking.

    A name that was not ranked gets the lowest log-odds of those that were: it never
    gains by being left out, and the order among the others stays. A softmax sees only
    differences, so what all names of a box have in common does not count.

    Args:
        cosines: (n, C) of boxes and names, competitors included.
        ranking: of these boxes and names.
        num_ranked: names of a box whose odds count, the first ones.
        weight: of the log-odds, in the unit of cosines.

    Returns:
        (n, C).
    """
    names, odds = ranking.names[:, :num_ranked], ranking.odds[:, :num_ranked]
    shift = odds.amin(1, keepdim=True).expand_as(cosines)
    return cosines + weight * shift.scatter(1, names, odds.to(cosines))
