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
    """The one of the others with the least median."""
    ratio: Ratio
    """To it; below 1 is better."""

    @property
    def is_behind(self) -> bool:
        """Whether all of the interval is above 1."""
        return self.ratio.low is not None and self.ratio.low > 1


def standing(
    item: str,
    metric: str,
    own: Values,
    others: Mapping[str, Values],
    logarithms: Callable[[Values, Values], Values],
) -> Standing | None:
    """None where there is no figure of it or of any other."""
    rivals = {name: values for name, values in others.items() if logarithms(own, values)}
    if not rivals:
        return None
    best = min(rivals, key=lambda name: float(np.median(list(rivals[name].values()))))
    return Standing(item, metric, best, ratio_of(list(logarithms(own, rivals[best]).values())))
