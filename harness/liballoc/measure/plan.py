"""The order of runs: round by round, every allocator of an item once a round.

The order of items, and of allocators within an item, is drawn anew each round from a seed: which
process ran before changes what a run costs (huge pages, caches, the frequency of the clock).
Allocators of an item run next to each other, so that a ratio compares what the machine did within
seconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A run that is to be made."""

    round: int
    item: str
    allocator: str


def round_order(
    seed: int, number: int, items: Sequence[str], allocators: Sequence[str]
) -> Iterator[Place]:
    """The runs of one round. Arguments alone decide, so that a resumed round is the same."""
    order = random.Random(f"{seed}/{number}")
    shuffled = list(items)
    order.shuffle(shuffled)
    for item in shuffled:
        names = list(allocators)
        order.shuffle(names)
        for name in names:
            yield Place(number, item, name)
