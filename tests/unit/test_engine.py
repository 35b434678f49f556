"""liballoc.measure: the order of runs, the engine, and what becomes of runs that fail."""

from __future__ import annotations

import dataclasses
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liballoc.allocators.registry import Allocator
from liballoc.errors import CheckFailedError
from liballoc.measure.engine import Engine, Plan, worked
from liballoc.measure.plan import round_order
from liballoc.measure.record import FAILED, OK, SKIPPED, Item, Run
from liballoc.measure.subject import Command, FromWorkload, Parsed
from liballoc.workload.launch import Inspection, Outcome, Step
from liballoc.workload.schema import Server, Workload
from tests.unit.measuring import ALLOCATORS, GLIBC, OWN, NoWatch, ended, item, make_executor

NAMES = st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True)


@settings(deadline=None)
@given(st.integers(0, 1 << 63), st.integers(0, 50), NAMES, NAMES)
def test_a_round_has_every_pair_once_and_items_together(
    seed: int, number: int, items: list[str], allocators: list[str]
) -> None:
    order = list(round_order(seed, number, items, allocators))
    assert Counter((place.item, place.allocator) for place in order) == Counter(
        (each, name) for each in items for name in allocators
    )
    assert order == list(round_order(seed, number, items, allocators))
    size = len(allocators)
    for start in range(0, len(order), size):
        assert len({place.item for place in order[start : start + size]}) == 1


def test_rounds_differ_and_so_do_seeds() -> None:
    names = [f"{n}" for n in range(8)]
    orders = [tuple(round_order(seed, n, names, names)) for seed in (1, 2) for n in (1, 2)]
    assert len(set(orders)) == 4


def test_allocators_do_not_always_follow_each_other_alike() -> None:
    names = ["a", "b", "c"]
    first = {next(round_order(1, n, ["x"], names)).allocator for n in range(30)}
    assert first == set(names)


class Fake:
    """A subject that is told what happens."""

    def __init__(self, name: str, act: Callable[[Allocator, int], Run], missing: str = "") -> None:
        self.item: Item = item(name)
        self.act = act
        self._missing = missing

    def missing(self) -> str:
        return self._missing

    def run(self, allocator: Allocator, number: int) -> Run:
        return self.act(allocator, number)


def fine(name: str) -> Fake:
    return Fake(name, lambda allocator, number: Run(name, allocator.name, number, OK))


def test_probes_come_first_and_each_round_has_all() -> None:
    kept: list[Run] = []
    Engine(Plan([fine("a"), fine("b")], ALLOCATORS, 3, 1), kept.append).run()
    assert [run.round for run in kept] == sorted(run.round for run in kept)
    assert Counter(run.round for run in kept) == dict.fromkeys(range(4), 6)


def test_what_fails_is_not_run_again_and_the_rest_goes_on() -> None:
    def act(allocator: Allocator, number: int) -> Run:
        bad = allocator.name == "peer" and number == 2
        return Run("a", allocator.name, number, FAILED if bad else OK)

    kept: list[Run] = []
    Engine(Plan([Fake("a", act)], ALLOCATORS, 5, 1), kept.append).run()
    assert sum(run.allocator == "peer" for run in kept) == 3
    assert sum(run.allocator == "glibc" for run in kept) == 6


def test_what_is_missing_is_recorded_once() -> None:
    kept: list[Run] = []
    subjects = [Fake("a", fine("a").act, "no such program"), fine("b")]
    Engine(Plan(subjects, ALLOCATORS, 1, 1), kept.append).run()
    assert [run for run in kept if run.item == "a"] == [Run("a", "", 0, SKIPPED, "no such program")]
    again: list[Run] = []
    Engine(Plan(subjects, ALLOCATORS, 1, 1), again.append, done=kept).run()
    assert again == []
    assert worked(kept)


def test_an_interrupted_measurement_goes_on_where_it_was() -> None:
    whole: list[Run] = []
    Engine(Plan([fine("a"), fine("b")], ALLOCATORS, 4, 9), whole.append).run()
    first: list[Run] = []

    def stop(run: Run) -> None:
        first.append(run)
        if len(first) == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Engine(Plan([fine("a"), fine("b")], ALLOCATORS, 4, 9), stop).run()
    rest: list[Run] = []
    Engine(Plan([fine("a"), fine("b")], ALLOCATORS, 4, 9), rest.append, done=first).run()
    assert first + rest == whole


def test_the_limit_of_time_leaves_five_rounds() -> None:
    now = iter(range(0, 10_000, 100))
    kept: list[Run] = []
    plan = Plan([fine("a")], ALLOCATORS, 50, 1, seconds=150)
    Engine(plan, kept.append, clock=lambda: next(now)).run()
    assert max(run.round for run in kept) == 5


def command(behaviour: Callable[[Step], Outcome], **more: object) -> Command:
    subject = Command(
        item(), ("prog",), Path("/"), {"PATH": "/bin"}, 5.0,
        make_executor=make_executor(behaviour), make_watch=NoWatch,
    )  # fmt: skip
    for name, value in more.items():
        setattr(subject, name, value)
    return subject


def test_a_run_has_figures_and_only_a_probe_is_inspected() -> None:
    steps: list[Step] = []

    def behaviour(step: Step) -> Outcome:
        steps.append(step)
        return ended(step)

    subject = command(behaviour)
    assert subject.run(OWN, 0).state == OK
    run = subject.run(OWN, 1)
    assert [(step.inspect, step.count) for step in steps] == [(True, False), (False, True)]
    assert steps[1].environment["LD_PRELOAD"] == "/lib/liballoc.so"
    assert run.values["cpu_s"] == 0.5
    assert run.values["peak_bytes"] == 64 << 20
    assert run.values["steady_bytes"] == 2 << 20
    assert "instructions" not in run.values


def test_the_users_preload_stays_behind_ours() -> None:
    seen: list[str] = []

    def behaviour(step: Step) -> Outcome:
        seen.append(step.environment["LD_PRELOAD"])
        return ended(step)

    subject = command(behaviour, environment={"LD_PRELOAD": "/x.so"})
    subject.run(OWN, 1)
    subject.run(GLIBC, 1)
    assert seen == ["/lib/liballoc.so /x.so", "/x.so"]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(-signal.SIGSEGV, b"", b"a\nlast\n", 1, 1), "died by SIGSEGV: last"),
        (Outcome(-40, b"", b"", 1, 1), "died by signal 40"),
        (Outcome(3, b"", b"", 1, 1), "exit status 3, expected 0"),
        (Outcome(-9, b"", b"", 1, 1, timed_out=True), "no end after 5 s"),
        (Outcome(127, b"", b"", 1, 1, not_started="No such file"), "cannot be started: No such"),
    ],
)
def test_a_failure_is_never_a_time(outcome: Outcome, reason: str) -> None:
    run = command(lambda step: outcome).run(OWN, 1)
    assert run.state == FAILED
    assert reason in run.reason
    assert not run.values


def test_a_peak_no_higher_than_the_launchers_is_no_figure() -> None:
    small = command(lambda step: ended(step, peak_kib=10_000))
    assert "peak_bytes" not in small.run(OWN, 1).values
    assert small.run(OWN, 0).values["peak_bytes"] == 10_000 << 10


def test_an_allocator_that_is_not_mapped_is_not_active() -> None:
    def behaviour(step: Step) -> Outcome:
        seen = Inspection("/bin/static", ("/bin/static",), 1)
        return Outcome(0, b"", b"", 1, 1, inspection=seen)

    run = command(behaviour).run(OWN, 0)
    assert run.state == FAILED
    assert "not active: liballoc.so was not mapped by /bin/static" in run.reason
    assert command(behaviour).run(GLIBC, 0).state == OK


def test_a_program_that_brings_its_own_malloc_is_noted() -> None:
    def behaviour(step: Step) -> Outcome:
        seen = Inspection("/bin/x", ("/bin/x", "/usr/lib/libjemalloc.so.2"), 1)
        return Outcome(0, b"", b"", 1, 1, inspection=seen)

    run = command(behaviour).run(GLIBC, 0)
    assert (run.state, run.note) == (OK, "the program brings libjemalloc.so.2")


def test_what_a_program_prints_is_parsed_or_the_run_fails() -> None:
    def parse(text: bytes) -> Parsed:
        if text != b"good":
            raise CheckFailedError("printed nonsense")
        return Parsed({"op_ns": 2.0}, {"50": 1.0}, "abc")

    good = command(lambda step: ended(step, stdout=b"good"), parse=parse).run(OWN, 1)
    assert (good.values["op_ns"], good.latencies, good.digest) == (2.0, {"50": 1.0}, "abc")
    bad = command(lambda step: ended(step, stdout=b"bad"), parse=parse).run(OWN, 1)
    assert (bad.state, bad.reason) == (FAILED, "printed nonsense")


def test_of_a_program_that_is_mostly_harness_only_what_it_says_itself_is_kept() -> None:
    said = Parsed({"alloc_ns": 2.0, "peak_bytes": 9.0}, for_process=True)
    run = command(ended, parse=lambda text: said).run(OWN, 1)
    assert (run.state, run.values, list(run.series)) == (OK, said.values, [])


SERVER = Workload(
    name="s", why="w", argv=("server",), seconds=60, packages=("p",), processes=("server",),
    kind="server", environment={"A": "{dir}"}, setup=(("prepare",),),
    server=Server(("ready",), "yes", (("load",),), ("stop",)),
)  # fmt: skip


def test_only_the_server_gets_the_allocator_and_its_load_is_the_time() -> None:
    preloads: dict[str, str] = {}

    def behaviour(step: Step) -> Outcome:
        preloads[step.argv[0]] = step.environment.get("LD_PRELOAD", "")
        return ended(step, stdout=b"yes", cpu_s=9.0 if step.measured else 1.0)

    def executor(folder: Path):  # type: ignore[no-untyped-def]
        made = make_executor(behaviour)(folder)
        made.alive_polls = 1
        return made

    subject = FromWorkload(item("s"), SERVER, {}, None, executor, NoWatch)
    run = subject.run(OWN, 1)
    assert run.state == OK
    assert run.values["cpu_s"] == 9.0
    assert run.values["wall_s"] == 0.75
    assert preloads.pop("server") == "/lib/liballoc.so"
    assert set(preloads.values()) == {""}


def test_a_load_or_a_preparation_that_fails_fails_the_run() -> None:
    def behaviour(name: str) -> Callable[[Step], Outcome]:
        return lambda step: ended(step, status=1 if step.argv[0] == name else 0, stdout=b"yes")

    for name, words in (("load", "load load: exit status 1"), ("prepare", "setup prepare")):

        def executor(folder: Path, name: str = name):  # type: ignore[no-untyped-def]
            made = make_executor(behaviour(name))(folder)
            made.alive_polls = 1
            return made

        run = FromWorkload(item("s"), SERVER, {}, None, executor, NoWatch).run(OWN, 1)
        assert run.state == FAILED
        assert words in run.reason


@pytest.mark.parametrize(("status", "state"), [(-15, OK), (-11, FAILED)])
def test_a_server_may_end_by_the_signal_that_stopped_it(status: int, state: str) -> None:
    def executor(folder: Path):  # type: ignore[no-untyped-def]
        made = make_executor(
            lambda step: ended(step, status=status if step.measured else 0, stdout=b"yes")
        )(folder)
        made.alive_polls = 1
        return made

    server = Server(("ready",), "yes", (("load",),), stop_signal="SIGTERM")
    workload = dataclasses.replace(SERVER, server=server)
    assert FromWorkload(item("s"), workload, {}, None, executor, NoWatch).run(OWN, 1).state == state


def test_missing_programs_are_named() -> None:
    subject = FromWorkload(item("s"), SERVER, {"PATH": "/nowhere"})
    assert subject.missing() == "prepare, server, ready, load, stop missing: apt-get install p"
    own = FromWorkload(item("s"), dataclasses.replace(SERVER, packages=()), {"PATH": "/nowhere"})
    assert own.missing() == "prepare, server, ready, load, stop missing"
    assert "prog: no such program" in command(ended).missing()
