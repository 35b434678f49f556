"""The order book of workloads/: what its engine does, and that its memory changes nothing of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.native import ROOT, clean_environment

SOURCES = ROOT / "workloads" / "src" / "order_book"
SCRIPT = Path(__file__).with_name("order_book_script.c")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
MEMORIES = ("malloc", "pool")

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles the order book, or another main around its engine, on a kind of memory."""
    folder = tmp_path_factory.mktemp("order-book")

    def make(memory: str, main: Path = SOURCES / "main.c", flags: tuple[str, ...] = ()) -> Path:
        target = folder / f"{main.stem}-{memory}{''.join(flags)}"
        if not target.exists():
            sources = [str(path) for path in SOURCES.glob("*.c") if path.name != "main.c"]
            command = ["gcc", *FLAGS, *flags, f"-I{SOURCES}", *sources, str(main)]
            if memory == "pool":
                command += ["-DORDER_BOOK_POOL", f"-I{ROOT / 'zig' / 'include'}", str(library),
                            f"-Wl,-rpath,{library.parent}"]  # fmt: skip
            subprocess.run([*command, "-o", str(target)], check=True)
        return target

    return make


def run(program: Path, *words: str, stdin: str = "") -> str:
    done = subprocess.run(
        [str(program), *words], input=stdin, capture_output=True, text=True, check=False,
        env=clean_environment(), timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def facts(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines()[1:])


SCENARIOS = {
    "an order waits": "buy 1 100 5 -> resting 5",
    "an empty book has nothing for a market order": "buy 1 market 5 -> exhausted 5",
    "a market order is dropped where the book ends": """
        sell 1 100 5 -> resting 5
        buy 2 market 8 -> exhausted 3 1@100*5
        sell 3 market 1 -> exhausted 1""",
    "equal prices: the earlier is first": """
        sell 1 100 5 -> resting 5
        sell 2 100 5 -> resting 5
        buy 3 100 7 -> filled 0 1@100*5 2@100*2
        buy 4 100 4 -> resting 1 2@100*3""",
    "the better price is first, whenever it came": """
        sell 1 102 5 -> resting 5
        sell 2 100 5 -> resting 5
        sell 3 101 5 -> resting 5
        buy 4 102 12 -> filled 0 2@100*5 3@101*5 1@102*2""",
    "and so it is on the other side": """
        buy 1 98 5 -> resting 5
        buy 2 100 5 -> resting 5
        buy 3 99 5 -> resting 5
        sell 4 98 12 -> filled 0 2@100*5 3@99*5 1@98*2""",
    "a trade is at the maker's price": """
        sell 1 100 5 -> resting 5
        buy 2 110 5 -> filled 0 1@100*5""",
    "what is left of a limit order rests": """
        sell 1 100 5 -> resting 5
        buy 2 100 8 -> resting 3 1@100*5
        sell 3 100 9 -> resting 6 2@100*3""",
    "a limit order does not trade beyond its price": """
        sell 1 101 5 -> resting 5
        buy 2 100 5 -> resting 5""",
    "an order that was filled in part keeps its place": """
        buy 1 100 5 -> resting 5
        buy 2 100 5 -> resting 5
        sell 3 100 2 -> filled 0 1@100*2
        sell 4 100 4 -> filled 0 1@100*3 2@100*1""",
    "cancelled once": """
        buy 1 100 5 -> resting 5
        cancel 1 -> cancelled 5
        cancel 1 -> unknown 0
        sell 2 market 5 -> exhausted 5""",
    "cancel gives what is left": """
        buy 1 100 5 -> resting 5
        sell 2 100 3 -> filled 0 1@100*3
        cancel 1 -> cancelled 2""",
    "a filled order cannot be cancelled": """
        buy 1 100 5 -> resting 5
        sell 2 100 5 -> filled 0 1@100*5
        cancel 1 -> unknown 0
        cancel 2 -> unknown 0""",
    "one that never was cannot be cancelled": "cancel 7 -> unknown 0",
    "the middle of a queue is cancelled": """
        sell 1 100 1 -> resting 1
        sell 2 100 2 -> resting 2
        sell 3 100 3 -> resting 3
        cancel 2 -> cancelled 2
        buy 4 market 9 -> exhausted 5 1@100*1 3@100*3""",
    "the ends of a queue are cancelled": """
        sell 1 100 1 -> resting 1
        sell 2 100 2 -> resting 2
        sell 3 100 3 -> resting 3
        cancel 3 -> cancelled 3
        cancel 1 -> cancelled 1
        sell 4 100 4 -> resting 4
        buy 5 market 9 -> exhausted 3 2@100*2 4@100*4""",
    "the ends of the band": """
        sell 1 4095 1 -> resting 1
        buy 2 0 1 -> resting 1
        sell 3 4096 1 -> refused 0
        buy 4 market 1 -> filled 0 1@4095*1
        sell 5 market 1 -> filled 0 2@0*1""",
    "an id is live once": """
        buy 1 100 5 -> resting 5
        buy 1 101 5 -> refused 0
        cancel 1 -> cancelled 5
        buy 1 101 5 -> resting 5""",
    "what is no order is refused": """
        buy 0 100 5 -> refused 0
        buy 1000 100 5 -> refused 0
        buy 1 100 0 -> refused 0
        buy 1 100 1001 -> refused 0
        nonsense 1 100 5 -> refused 0
        cancel 1000 -> refused 0""",
}


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_engine(scenario: str, memory: str, build: Build) -> None:
    steps = [line.strip().split(" -> ") for line in SCENARIOS[scenario].strip().splitlines()]
    program = build(memory, SCRIPT)
    answers = run(program, stdin="".join(f"{words}\n" for words, _ in steps))
    assert answers.splitlines() == [expected for _, expected in steps]


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_full_book_refuses_with_any_memory(memory: str, build: Build) -> None:
    script = "buy 1 10 1\nbuy 2 10 1\nbuy 3 10 1\ncancel 1\nbuy 3 10 1\n"
    answers = run(build(memory, SCRIPT), "2", stdin=script).splitlines()
    assert answers == ["resting 1", "resting 1", "refused 0", "cancelled 1", "resting 1"]


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_book_is_sound_all_the_way(memory: str, build: Build) -> None:
    found = facts(run(build(memory), "--orders", "60000", "--check", "100", "--trades"))
    assert int(found["trades"]) > 1000
    assert int(found["refused"]) == 0
    assert int(found["cancelled"]) > 10000


@pytest.mark.parametrize("seed", ["1", "2", "18446744073709551615"])
def test_memory_changes_nothing(seed: str, build: Build) -> None:
    words = ("--orders", "200000", "--seed", seed, "--trades")
    timed = ("-DTIME_ALLOCATIONS",)
    texts = {
        run(build(memory, flags=flags), *words) for memory in MEMORIES for flags in ((), timed)
    }
    assert len(texts) == 1


def test_another_seed_trades_otherwise(build: Build) -> None:
    program = build("malloc")
    digests = {
        facts(run(program, "--orders", "20000", "--seed", str(seed), "--trades"))["digest"]
        for seed in range(5)
    }
    assert len(digests) == 5


def test_the_requests_are_the_same_on_every_machine(build: Build) -> None:
    found = facts(run(build("malloc"), "--orders", "100000", "--trades"))
    # A change here is a change of the generator or of what is traded.
    assert (found["trades"], found["digest"]) == ("21625", "4c22e73ddb43ec24")


@pytest.mark.parametrize("memory", MEMORIES)
def test_every_latency_is_in_the_json(memory: str, build: Build) -> None:
    found = json.loads(run(build(memory), "--orders", "5000", "--json"))
    assert (found["orders"], found["seed"], found["memory"]) == (5000, 1, memory)
    provider = Path(found["malloc_from"]).name
    assert provider.startswith("liballoc.so" if memory == "pool" else "libc.so")
    latencies = found["latencies"]["request"]
    assert latencies["count"] == 5000
    assert sum(count for _, _, count in latencies["ticks"]) == 5000
    ranks = [latencies[name] for name in ("p50", "p90", "p99", "p99.9", "p99.99", "max")]
    assert ranks == sorted(ranks)
    assert sum(found["statuses"].values()) == 5000
    timed = json.loads(
        run(build(memory, flags=("-DTIME_ALLOCATIONS",)), "--orders", "5000", "--json")
    )["latencies"]
    rested = found["statuses"]["resting"]
    assert timed["order_alloc"]["count"] == rested
    assert timed["order_free"]["count"] == rested - found["live"]
    # The request, its answer, and a fill for each trade.
    assert timed["scratch_alloc"]["count"] == 2 * 5000 + found["trades"]
    assert timed["scratch_reset"]["count"] == 5000


BAD = {
    "flag": (["--order", "1"], 'unknown option "--order"'),
    "value": (["--orders"], "--orders needs a value"),
    "none": (["--orders", "0"], '--orders: "0" is not a whole number from 1 to 100000000'),
    "word": (["--seed", "1x"], '--seed: "1x" is not a whole number'),
    "large": (["--seed", str(2**64)], f'--seed: "{2**64}" is not a whole number'),
    "empty": (["--check", ""], '--check: "" is not a whole number'),
    "both": (["--json", "--trades"], "--trades and --json exclude each other"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_the_usage(case: str, build: Build) -> None:
    words, reason = BAD[case]
    done = subprocess.run(
        [str(build("malloc")), *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"order_book: {reason}")
    assert second.startswith("usage: order_book")
