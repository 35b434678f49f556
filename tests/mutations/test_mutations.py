"""The machinery of the mutations, on copies of nothing: what is refused, selected and reported."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from liballoc.errors import CheckFailedError, UsageError
from liballoc.toolchain.zig import Zig
from tests.mutations import catalogue, mutate
from tests.mutations.catalogue import Mutation
from tests.mutations.worker import State, Worker, expression

ENTRY = """
[[mutation]]
name = "one"
breaks = "a thing"
rows = ["C01", "C02"]
file = "place.txt"
find = "two"
replace = "three"
tests = ["tests/place.py"]
"""


def load(folder: Path, text: str) -> list[Mutation]:
    (folder / "some.toml").write_text(text)
    return catalogue.load(folder)


def test_an_entry_is_read(tmp_path: Path) -> None:
    (one,) = load(tmp_path, ENTRY)
    assert (one.name, one.rows, one.select, one.archive) == ("one", ("C01", "C02"), "", False)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('find = "two"\n', "", "missing ['find']"),
        ('find = "two"', 'find = "two"\nfound = "x"', "unknown ['found']"),
        ('["C01", "C02"]', "[]", "not empty"),
        ('find = "two"', 'find = "two"\nmachine = "vax"', "no machine called vax"),
        ('name = "one"', "name = one", "some.toml"),
        (ENTRY, ENTRY + ENTRY, "twice: one"),
    ],
)
def test_bad_entries_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, ENTRY.replace(old, new))
    assert words in str(caught.value)


@pytest.mark.parametrize(("text", "count"), [("one", 0), ("two two", 2)])
def test_a_text_that_is_not_unique_is_refused(tmp_path: Path, text: str, count: int) -> None:
    (one,) = load(tmp_path, ENTRY)
    (tmp_path / "place.txt").write_text(text)
    with pytest.raises(UsageError, match=f"stands {count} times in place.txt"):
        one.apply(tmp_path)
    with pytest.raises(UsageError, match="is not there"):
        one.apply(tmp_path / "nowhere")


def test_choice_by_name_and_row(tmp_path: Path) -> None:
    mutations = load(tmp_path, ENTRY + ENTRY.replace("one", "other").replace("C02", "C03"))
    assert [m.name for m in catalogue.choose(mutations, [])] == ["one", "other"]
    assert [m.name for m in catalogue.choose(mutations, ["C03"])] == ["other"]
    assert [m.name for m in catalogue.choose(mutations, ["one", "C01"])] == ["one", "other"]
    with pytest.raises(UsageError, match="named C99"):
        catalogue.choose(mutations, ["C99"])


def test_what_is_not_built_is_not_selected(tmp_path: Path) -> None:
    (one,) = load(tmp_path, ENTRY + 'select = "a or b"')
    words = expression(one, "C01")
    assert (
        words == "(C01) and (a or b) and not debug and not on_glibc and not archive and not static]"
    )
    (one,) = load(tmp_path, ENTRY + "archive = true")
    assert expression(one, "C01") == "(C01) and not debug and not on_glibc"


class Pretended(Worker):
    """A worker whose build and tests end as told; it says what the file held meanwhile."""

    built: bool
    statuses: dict[str, int]
    seen: str = ""

    def build(self, archive: bool, machine: str) -> bool:
        self.log.append("built" if not archive else "with the archive")
        return self.built

    def run_tests(self, files: Sequence[str], words: str) -> int:
        self.seen = (self.folder / "place.txt").read_text()
        return next(status for row, status in self.statuses.items() if f"({row})" in words)


@pytest.mark.parametrize(
    ("built", "statuses", "state", "detail"),
    [
        (True, {"C01": 1, "C02": 1}, State.RED, "C01 C02"),
        (True, {"C01": 1, "C02": 0}, State.GREEN, "C02"),
        (True, {"C01": 5, "C02": 1}, State.NO_TEST, "C01"),
        (False, {}, State.NOT_BUILT, "built"),
    ],
)
def test_verdicts(
    tmp_path: Path, built: bool, statuses: dict[str, int], state: State, detail: str
) -> None:
    (one,) = load(tmp_path, ENTRY)
    (tmp_path / "place.txt").write_text("one two")
    worker = Pretended(tmp_path, tmp_path, Zig(Path("zig"), "0"))
    worker.built, worker.statuses = built, statuses
    verdict = worker.judge(one)
    assert (verdict.state, verdict.detail) == (state, detail)
    assert worker.seen == ("one three" if built else "")
    assert (tmp_path / "place.txt").read_text() == "one two"


def test_the_unchanged_library_must_be_green(tmp_path: Path) -> None:
    mutations = load(tmp_path, ENTRY)
    (tmp_path / "place.txt").write_text("one two")
    worker = Pretended(tmp_path, tmp_path, Zig(Path("zig"), "0"))
    worker.built, worker.statuses = True, {"C02": 0, "C01": 0}
    worker.check_green(mutations)
    worker.statuses = {"C02": 1}
    with pytest.raises(CheckFailedError, match=r"place\.py is not green"):
        worker.check_green(mutations)


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutate.main(["no_such_mutation"]) == 2
    assert "no mutation or row named no_such_mutation" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        mutate.main(["--jobs", "0"])
    assert ended.value.code == 2
    assert mutate.main(["--list", "C14"]) == 0
    assert "free_touches_errno: C14" in capsys.readouterr().out
