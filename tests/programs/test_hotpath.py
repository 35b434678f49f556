"""hotpath: each case ends with its JSON, alone and on the library; bad input is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liballoc.measure.selfmeasured import CASES
from tests.programs.allocbench import BINARY, LIBRARY, run

HOTPATH = BINARY.with_name("hotpath")
OPS = 20_000


@pytest.mark.parametrize("library", [None, LIBRARY], ids=["glibc", "release"])
@pytest.mark.parametrize("case", [case.replace("swing 1024", "swing 16") for case in CASES])
def test_a_case_ends_with_its_figures(case: str, library: Path | None) -> None:
    ended = run(*case.split(), "--ops", str(OPS), program=HOTPATH, preload=library)
    assert (ended.status, ended.stderr) == (0, "")
    found = json.loads(ended.stdout)
    assert found["case"] == case
    assert found["rss_kib"] is not None
    assert (found["ns_per_op"] is None) == (case == "floor")
    numbers = [int(word) for word in case.split()[1:]]
    if case.startswith(("floor", "idle")):
        assert found["ops"] == max([1, *numbers])
    elif case.startswith("swing"):
        # Whole swings.
        pages = 2 * sum(1 << power for power in range(5)) * 256
        assert found["ops"] == -(-OPS // pages) * pages
    else:
        # Whole batches, and as many for each thread.
        assert OPS <= found["ops"] <= OPS + max([1000, *numbers])


def test_an_idle_thread_costs_two_pages_at_most() -> None:
    found = json.loads(run("idle", "256", program=HOTPATH, preload=LIBRARY).stdout)
    assert found["rss_kib"] <= 8


@pytest.mark.parametrize(
    "words",
    [[], ["walk"], ["pair"], ["pair", "0"], ["idle", "257"], ["threads", "-1"], ["spent", "x"],
     ["floor", "1"], ["pair", "32", "--ops"], ["pair", "32", "--ops", "0"]],
    ids=" ".join,
)  # fmt: skip
def test_bad_input_is_refused(words: list[str]) -> None:
    ended = run(*words, program=HOTPATH)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("hotpath: ")
    assert "usage: hotpath CASE" in ended.stderr
