"""The loop of a measurement: probes first, then rounds, every run recorded before the next begins.

An allocator that fails under an item (cannot be started, dies by a signal, takes too long, is not
active) is not run there again; all others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from liballoc.allocators.registry import Allocator
from liballoc.measure.plan import Place, round_order
from liballoc.measure.record import FAILED, OK, PROBE_ROUND, SKIPPED, Run
from liballoc.measure.subject import Subject

# Below this no interval can be stated, so a limit of time does not end a measurement before.
ROUNDS_MIN = 5

Record = Callable[[Run], None]
Progress = Callable[[Place, int, int], None]


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    subjects: Sequence[Subject]
    allocators: Sequence[Allocator]
    rounds: int
    seed: int
    seconds: float = float("inf")
    """No round is begun that would end later, once there are ROUNDS_MIN."""


class Engine:
    """Runs a plan; `done` are the runs of a measurement that is resumed."""

    def __init__(
        self,
        plan: Plan,
        record: Record,
        *,
        done: Iterable[Run] = (),
        progress: Progress = lambda place, done, total: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._record = record
        self._progress = progress
        self._clock = clock
        self._subjects = {subject.item.name: subject for subject in plan.subjects}
        self._allocators = {allocator.name: allocator for allocator in plan.allocators}
        self._done: set[tuple[str, str, int]] = set()
        self._failed: set[tuple[str, str]] = set()
        for run in done:
            self._note(run)

    def run(self) -> None:
        """Run all that is not done yet."""
        start = self._clock()
        items = [name for name in self._subjects if not self._skip(name)]
        total = (self._plan.rounds + 1) * len(items) * len(self._allocators)
        count = 0
        for number in range(PROBE_ROUND, self._plan.rounds + 1):
            begun = self._clock()
            for place in round_order(self._plan.seed, number, items, list(self._allocators)):
                self._progress(place, count, total)
                self._one(place)
                count += 1
            now = self._clock()
            longest = now - begun
            if number >= ROUNDS_MIN and now - start + longest > self._plan.seconds:
                break

    def _skip(self, item: str) -> bool:
        """Whether an item cannot be run here, which is recorded once."""
        reason = self._subjects[item].missing()
        if reason and (item, "", PROBE_ROUND) not in self._done:
            self._keep(Run(item, "", PROBE_ROUND, SKIPPED, reason))
        return bool(reason)

    def _one(self, place: Place) -> None:
        pair = (place.item, place.allocator)
        if pair in self._failed or (*pair, place.round) in self._done:
            return
        allocator = self._allocators[place.allocator]
        self._keep(self._subjects[place.item].run(allocator, place.round))

    def _keep(self, run: Run) -> None:
        self._record(run)
        self._note(run)

    def _note(self, run: Run) -> None:
        self._done.add(run.key)
        if run.state == FAILED:
            self._failed.add((run.item, run.allocator))


def worked(runs: Collection[Run]) -> bool:
    """Whether any run ended well."""
    return any(run.state == OK for run in runs)
