"""ALLOC_CONF: what is unknown warns and is ignored, and stats_at_exit appends one line of JSON."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.native import Native, Outcome, Subject, clean_environment

TRAFFIC = Path(__file__).resolve().parent / "src" / "traffic.c"
STATS_KEYS = {
    "liballoc", "pid", "exe", "level", "allocations", "frees", "bytes_in_use", "bytes_mapped",
    "bytes_resident", "fragmentation_pct", "total_allocated", "total_pages", "heaps",
    "foreign_frees",
}  # fmt: skip
NOBODY = 65534


def run(native: Native, subject: Subject, conf: str, name: str = "returns") -> Outcome:
    program = native.build(TRAFFIC, subject)
    return native.run(program, name, subject=subject, env={"ALLOC_CONF": conf})


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_no_configuration_is_silent(native: Native, preloaded: Subject) -> None:
    outcome = native.run(native.build(TRAFFIC), "returns", subject=preloaded)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "", "")


def test_unknown_key_warns_once(native: Native, preloaded: Subject) -> None:
    outcome = run(native, preloaded, "no_such_key:1")
    assert outcome.status == 0
    lines = outcome.stderr.splitlines()
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("liballoc: ")
    assert "no_such_key" in lines[0]


def test_known_keys_beside_an_unknown_one_hold(
    native: Native, preloaded: Subject, tmp_path: Path
) -> None:
    stats = tmp_path / "stats"
    outcome = run(native, preloaded, f"no_such_key:1,stats_at_exit:{stats}")
    assert outcome.stderr.count("no_such_key") == 1
    assert len(lines_of(stats)) == 1


@pytest.mark.parametrize("conf", ["decay_ms:soon", "mmap_threshold:", "foreign:perhaps", "level:x"])
def test_bad_value_warns_and_is_ignored(native: Native, preloaded: Subject, conf: str) -> None:
    outcome = run(native, preloaded, conf)
    assert outcome.status == 0
    lines = outcome.stderr.splitlines()
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("liballoc: ")
    name, value = conf.split(":", maxsplit=1)
    assert f"option {name}: bad value '{value}', it takes " in lines[0]


def test_a_warning_stays_one_line(native: Native, preloaded: Subject) -> None:
    outcome = run(native, preloaded, "thp:a\rb\tc" + "d" * 300)
    assert len(outcome.stderr.splitlines()) == 1, outcome.stderr
    assert outcome.stderr.endswith("..." + "', it takes auto or never\n")


@pytest.mark.parametrize("conf", ["", ",", ",,,", ":", "x" * 5000, ":,:,:", "a" * 300 + ":1,"])
def test_malformed_text_is_survived(native: Native, preloaded: Subject, conf: str) -> None:
    assert run(native, preloaded, conf).status == 0


def test_stats_at_exit(native: Native, preloaded: Subject, tmp_path: Path) -> None:
    stats = tmp_path / "stats"
    assert run(native, preloaded, f"stats_at_exit:{stats}").status == 0
    text = stats.read_text()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    record = json.loads(text)
    assert set(record) >= STATS_KEYS
    assert Path(record["exe"]) == native.build(TRAFFIC)
    assert record["allocations"] >= 900
    assert record["allocations"] >= record["frees"] >= 900
    assert record["bytes_mapped"] > 0
    assert record["total_allocated"] >= 40 << 20
    assert record["foreign_frees"] == 0
    assert record["heaps"] >= 1


def test_level_0_is_the_default_of_the_release(
    native: Native, release: Subject, tmp_path: Path
) -> None:
    stats = tmp_path / "stats"
    run(native, release, f"stats_at_exit:{stats}")
    assert lines_of(stats)[0]["level"] == 0


def test_stats_are_appended(native: Native, preloaded: Subject, tmp_path: Path) -> None:
    stats = tmp_path / "stats"
    stats.write_text('{"an": "older line"}\n')
    for _ in range(3):
        run(native, preloaded, f"stats_at_exit:{stats}")
    records = lines_of(stats)
    assert len(records) == 4
    assert len({record["pid"] for record in records[1:]}) == 3


@pytest.mark.parametrize(
    ("name", "count"),
    [("forks", 4), ("execs", 1), ("underscore_exit", 0), ("killed", 0), ("closes_everything", 1)],
)
def test_one_line_per_process_that_exits(
    native: Native, preloaded: Subject, tmp_path: Path, name: str, count: int
) -> None:
    stats = tmp_path / "stats"
    run(native, preloaded, f"stats_at_exit:{stats}", name)
    records = lines_of(stats)
    assert len(records) == count
    assert len({record["pid"] for record in records}) == count


def test_stats_into_nowhere(native: Native, preloaded: Subject, tmp_path: Path) -> None:
    outcome = run(native, preloaded, f"stats_at_exit:{tmp_path}/missing/stats")
    assert outcome.status == 0
    assert len(outcome.stderr.splitlines()) <= 1


def test_mmap_threshold(native: Native, preloaded: Subject) -> None:
    # A block of 8 MiB is below the default threshold, and above this one.
    assert run(native, preloaded, "decay_ms:100", "counts_mappings").stdout == "0\n"
    assert run(native, preloaded, "mmap_threshold:4194304", "counts_mappings").stdout == "1\n"


@pytest.mark.parametrize("decay", [0, 1, 100, 100000])
def test_decay_values(native: Native, preloaded: Subject, decay: int) -> None:
    outcome = run(native, preloaded, f"decay_ms:{decay}")
    assert (outcome.status, outcome.stderr) == (0, "")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="liballoc-secure-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_C15_ignored_in_set_uid_programs(
    native: Native, static_library: Path, open_folder: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a program set-uid to another user")
    if os.statvfs(open_folder).f_flag & os.ST_NOSUID:
        pytest.skip("the temporary folder is mounted nosuid")
    plain = open_folder / "plain"
    shutil.copy(native.build(TRAFFIC, Subject("archive", static_library)), plain)
    stats = open_folder / "stats"
    stats.touch()
    stats.chmod(0o666)
    environment = {**clean_environment(), "ALLOC_CONF": f"stats_at_exit:{stats},no_such_key:1"}

    def outcome_of(program: Path, user: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "returns"], env=environment, user=user, capture_output=True, text=True,
            check=True,
        )  # fmt: skip

    plain.chmod(0o755)
    assert "no_such_key" in outcome_of(plain, NOBODY).stderr
    assert len(lines_of(stats)) == 1
    secure = open_folder / "secure"
    shutil.copy(plain, secure)
    os.chown(secure, NOBODY, NOBODY)
    secure.chmod(0o4755)
    assert outcome_of(secure, 0).stderr == ""
    assert len(lines_of(stats)) == 1


def test_log_writes_a_line_per_call(native: Native, preloaded: Subject, tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcome = run(native, preloaded, f"log:{log}")
    assert outcome.status == 0
    if preloaded.name == "release":
        assert "debug library" in outcome.stderr
        assert not log.exists()
        return
    lines = log.read_text().splitlines()
    assert any(line.startswith("malloc(") and " = 0x" in line for line in lines)
    assert any(line.startswith("free(0x") for line in lines)
