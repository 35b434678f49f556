"""How one allocator stands to the best of the others, item by item."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from liballoc.measure.statistics import Ratio, ratio_of

Values = dict[int, float]
"""A metric's value by round."""


@dataclass(frozen=True)
class Standing:
    """One item and metric."""

    item: str
    metric: str
    rival: str
    """The best of the others that ran in as many rounds as any."""
    ratio: Ratio
    """To it; below 1 is better."""

    @property
    def is_behind(self) -> bool:
        """Whether it is more, and significantly so."""
        return self.ratio.significant and self.ratio.value > 1


def standing(
    item: str,
    metric: str,
    own: Values,
    others: Mapping[str, Values],
    logarithms: Callable[[Values, Values], Values],
) -> Standing | None:
    """None where there is no figure of it or of any other."""
    # Both the choice and the ratio are of the rounds that all have.
    common = {name: logarithms(own, values) for name, values in others.items()}
    common = {name: found for name, found in common.items() if found}
    if not common:
        return None
    most = max(len(found) for found in common.values())
    whole = {name: list(found.values()) for name, found in common.items() if len(found) == most}
    # The least of theirs is the greatest of the ratios to it.
    best = max(whole, key=lambda name: float(np.median(whole[name])))
    return Standing(item, metric, best, ratio_of(whole[best]))
