"""The model test: random operations from a seed, contents verified, in one thread and in several.

STRESS_SEED and STRESS_OPERATIONS in the environment replace the seeds and the number of operations
below; a failure prints the command that repeats it.
"""

import os
from pathlib import Path

import pytest

from tests.native import Native, Outcome, Subject, make_subject

MODEL = Path(__file__).resolve().parent / "src" / "model.c"
OPERATIONS = int(os.environ.get("STRESS_OPERATIONS", "1000000"))
SEEDS = [int(os.environ["STRESS_SEED"])] if "STRESS_SEED" in os.environ else [1, 20261121]


def run(
    native: Native, subject: Subject, seed: int, threads: int, *more: str,
    operations: int = OPERATIONS, conf: str = "",
) -> Outcome:  # fmt: skip
    program = native.build(MODEL, subject, ["-O2"])
    preload = f"LD_PRELOAD={subject.file} " if subject.is_preloaded else ""
    settings = f"ALLOC_CONF={conf} " if conf else ""
    arguments = [str(seed), str(operations), str(threads), *more]
    print(f"repeat with: {settings}{preload}{program} {' '.join(arguments)}")
    print(f"or: STRESS_SEED={seed} STRESS_OPERATIONS={operations} pytest {Path(__file__).name}")
    env = {"ALLOC_CONF": conf} if conf else {}
    return native.run(program, *arguments, subject=subject, env=env, timeout=300)


def check(outcome: Outcome, operations: int = OPERATIONS) -> None:
    assert outcome.status == 0, outcome.ending
    assert "liballoc:" not in outcome.stderr, outcome.stderr  # A setting that was refused.
    done = int(outcome.stdout.split()[2])
    assert done >= operations


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("subject", ["release", "debug"])
def test_model(
    native: Native, subject: str, seed: int, threads: int, request: pytest.FixtureRequest
) -> None:
    check(run(native, make_subject(subject, request), seed, threads))


@pytest.mark.parametrize("conf", ["decay_ms:0", "decay_ms:-1", "thp:never"])
@pytest.mark.parametrize("threads", [1, 8])
def test_model_under_other_settings(
    native: Native, release: Subject, threads: int, conf: str
) -> None:
    # Purging all at once, never, and without huge pages.
    operations = OPERATIONS // 5
    check(run(native, release, 7, threads, operations=operations, conf=conf), operations)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("subject", ["release", "debug"])
def test_model_with_own_mappings(
    native: Native, subject: str, threads: int, request: pytest.FixtureRequest
) -> None:
    # Blocks over 2 MiB have mappings of their own here: made, moved and unmapped by the thousand.
    chosen, operations = make_subject(subject, request), OPERATIONS // 50
    conf = "mmap_threshold:2m"
    outcome = run(native, chosen, 11, threads, "large", operations=operations, conf=conf)
    check(outcome, operations)


@pytest.mark.parametrize("threads", [1, 4])
def test_model_on_glibc(native: Native, glibc: Subject, threads: int) -> None:
    check(run(native, glibc, 1, threads, operations=OPERATIONS // 5), OPERATIONS // 5)


def test_one_thread_repeats_exactly(native: Native, release: Subject, glibc: Subject) -> None:
    # The sequence depends on the seed alone, not on the malloc.
    outputs = {
        run(native, subject, 3, 1, operations=50000).stdout for subject in (release, glibc, release)
    }
    assert len(outputs) == 1
    assert run(native, release, 4, 1, operations=50000).stdout not in outputs


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("subject", ["release", "debug", "glibc"])
def test_canary(native: Native, subject: str, threads: int, request: pytest.FixtureRequest) -> None:
    # One byte of one block is changed on purpose: a model that does not see it tests nothing.
    chosen = make_subject(subject, request)
    outcome = run(native, chosen, 1, threads, "canary", operations=50000)
    assert outcome.status == 1, outcome.ending
    assert "byte" in outcome.stderr
    assert f"repeat with: model 1 50000 {threads} canary" in outcome.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["1"], ["x", "1", "1"], ["1", "0", "1"], ["1", "1", "99"]]
)
def test_bad_arguments(native: Native, arguments: list[str]) -> None:
    outcome = native.run(native.build(MODEL, None, ["-O2"]), *arguments)
    assert outcome.status == 2
    assert "usage: model SEED OPERATIONS THREADS [canary|large]" in outcome.stderr
