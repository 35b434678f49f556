"""Every input that once failed, and a short run of the fuzzer over the C ABI from fixed seeds.

The files in regressions/ whose name begins with `abi` are scripts of src/abi.c, the others inputs
of the Zig target that their name begins with.
"""

import random
from pathlib import Path

import pytest

from tests.fuzz import fuzz, scripts
from tests.fuzz.target import ABI, REGRESSIONS, ZIG_TARGETS, Abi, Zig, build_zig_targets
from tests.native import Native, Subject, make_subject

SEED = 20261121
SCRIPTS = 40


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("abi*.bin")), ids=lambda path: path.stem)
@pytest.mark.parametrize("subject", ["release", "debug", "glibc"])
def test_regression(
    native: Native, subject: str, path: Path, request: pytest.FixtureRequest
) -> None:
    target = Abi(native, make_subject(subject, request), 0)
    assert target.failure(path.read_bytes()) is None


@pytest.fixture(scope="session")
def zig_targets() -> None:
    build_zig_targets()


@pytest.mark.parametrize("target", ZIG_TARGETS, ids=lambda target: target.name)
def test_zig_regressions(native: Native, target: Zig, zig_targets: None) -> None:
    for path in REGRESSIONS.glob(f"{target.name}*.bin"):
        failure = target.failure(native, path)
        assert failure is None, f"{path.name}: {failure}"


def test_no_regression_is_left_out() -> None:
    targets = ("abi", *(target.name for target in ZIG_TARGETS))
    assert not [path for path in REGRESSIONS.iterdir() if not path.name.startswith(targets)]


@pytest.mark.parametrize("subject", ["release", "debug", "glibc"])
def test_short_run(native: Native, subject: str, request: pytest.FixtureRequest) -> None:
    target = Abi(native, make_subject(subject, request), SEED)
    for seed in range(SEED, SEED + SCRIPTS):
        failure = target.failure(scripts.make(seed))
        assert failure is None, f"repeat with: nox -s fuzz -- --seed {seed}\n{failure}"


def test_a_seed_is_a_script() -> None:
    assert scripts.make(5) == scripts.make(5) != scripts.make(6)
    assert all(len(scripts.make(seed)) % scripts.STEP == 0 for seed in range(20))


def test_minimise_leaves_what_matters() -> None:
    script = bytearray(random.Random(1).randbytes(500 * scripts.STEP))
    script[1000:1005] = b"\x01ABC\x02"
    script[2000:2005] = b"\x03DEF\x04"

    def fails(candidate: bytes) -> bool:
        return b"ABC" in candidate and b"DEF" in candidate

    assert scripts.minimise(bytes(script), fails) == b"\0ABC\0\0DEF\0"


@pytest.mark.parametrize("arguments", [["missing.bin"], [], ["a", "b"]])
def test_what_cannot_be_read(native: Native, release: Subject, arguments: list[str]) -> None:
    outcome = native.run(native.build(ABI, None, ["-O2"]), "script", *arguments, subject=release)
    assert outcome.status == 2
    assert "usage: abi script FILE" in outcome.stderr


@pytest.mark.parametrize(
    "arguments", [["--minutes", "0"], ["--minutes", "x"], ["--target", "nothing"], ["more"]]
)
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        fuzz.main(arguments)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err
