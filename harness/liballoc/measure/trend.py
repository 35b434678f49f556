"""Whether a figure grows over time: a line by least squares, and how sure its slope is.

A single slope says little: resident memory moves with the age at which free memory is given back.
What counts as growth is a slope whose confidence interval stays above 0 by more than a bound, the
bound being growth over the time that was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

# Two-sided. Some fifty slopes are looked at in a run: at 95 % two of them would err by chance.
CONFIDENCE = 0.999
# The part of a run that is left out at its start: caches and heaps fill.
WARM_UP = 0.25
POINTS_MIN = 8


@dataclass(frozen=True)
class Trend:
    """The line through the points; per minute, with the limits of the interval."""

    points: int
    minutes: float
    slope: float
    low: float
    high: float

    @property
    def growth_low(self) -> float:
        """The least growth over the whole time that the points allow."""
        return self.low * self.minutes


def fit(minutes: Sequence[float], values: Sequence[float]) -> Trend | None:
    """The trend after the warm-up; None where there are too few points to say."""
    skipped = int(len(values) * WARM_UP)
    x, y = list(minutes[skipped:]), list(values[skipped:])
    if len(y) < POINTS_MIN or x[-1] <= x[0]:
        return None
    if min(y) == max(y):
        return Trend(len(y), x[-1] - x[0], 0.0, 0.0, 0.0)
    line = stats.linregress(x, y)
    width = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(y) - 2)) * float(line.stderr)
    slope = float(line.slope)
    return Trend(len(y), x[-1] - x[0], slope, slope - width, slope + width)
