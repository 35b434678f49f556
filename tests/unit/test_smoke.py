"""liballoc.workload.smoke and the command: verdicts, with an executor that plays programs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from liballoc import cli
from liballoc.commands import smoke as command
from liballoc.errors import ToolMissingError, UsageError
from liballoc.workload.launch import Outcome, Step
from liballoc.workload.schema import Server, Workload
from liballoc.workload.smoke import (
    Result,
    SmokeRun,
    base_environment,
    make_base,
    missing_programs,
)
from liballoc.workload.venv import Venvs
from tests.unit.fakes import (
    ELF_MACHINES,
    FakeExecutor,
    has_library,
    outcome,
    write_library,
    write_stats,
)

OTHER_MACHINE = bytes([ELF_MACHINES["aarch64" if platform.machine() == "x86_64" else "x86_64"]])
FLAGS_1 = 0x6FFFFFFB
PIE_TAG = (struct.pack("<QQ", FLAGS_1, 8), struct.pack("<QQ", FLAGS_1, 0x08000008))

SH = str(Path("/bin/sh").resolve())
WORKLOAD = Workload(
    name="x",
    why="because",
    argv=("sh", "-c", "{dir}"),
    seconds=5,
    packages=("dash",),
    processes=("sh",),
    process_count=1,
)


class Made(Venvs):
    """Environments that are there, or cannot be had."""

    def __init__(self, folder: Path, failure: str = "") -> None:
        super().__init__(folder)
        self._place = folder
        self._failure = failure

    def python_with(self, requirements: Sequence[str]) -> str:
        if self._failure:
            raise ToolMissingError(self._failure)
        return str(self._place / requirements[0] / "bin" / "python")


def judge(
    behaviour: Callable[[Step], Outcome],
    workload: Workload = WORKLOAD,
    alive_polls: int = 0,
    venvs: Venvs | None = None,
) -> tuple[Result, list[FakeExecutor]]:
    executors: list[FakeExecutor] = []

    def make(_: Path) -> FakeExecutor:
        executors.append(FakeExecutor(behaviour, alive_polls))
        return executors[-1]

    result = SmokeRun(
        workload,
        Path("/x/liballoc.so"),
        make_executor=make,
        outer={"PATH": "/usr/bin:/bin"},
        venvs=venvs,
    ).run()
    return result, executors


def active(step: Step) -> Outcome:
    write_stats(step, SH)
    return outcome("same")


def test_equal_and_active_is_ok() -> None:
    result, (without, with_library) = judge(active)
    assert (result.state, result.reasons) == ("ok", [])
    assert [process.exe for process in result.proven] == [SH]
    assert (result.seconds_with, result.peak_kib_with) == (0.5, 4096)
    assert not has_library(without.steps[0])
    assert with_library.steps[0].environment["LD_PRELOAD"] == "/x/liballoc.so"
    # The same working folder for both, so that paths in outputs are equal.
    assert without.steps[0].cwd == with_library.steps[0].cwd
    assert without.steps[0].argv[2] == str(without.steps[0].cwd)
    assert not without.steps[0].cwd.exists()


def test_other_output_fails() -> None:
    def behaviour(step: Step) -> Outcome:
        write_stats(step, SH)
        return outcome("liballoc" if has_library(step) else "glibc")

    result, _ = judge(behaviour)
    assert result.state == "FAIL"
    assert result.reasons == ["sh: stdout differs:\n-glibc\n+liballoc"]


def test_no_proof_fails() -> None:
    result, _ = judge(lambda _: outcome("same"))
    assert result.state == "FAIL"
    assert "library not active in sh (proof: stats)" in result.reasons


def test_proof_of_another_program_fails() -> None:
    def behaviour(step: Step) -> Outcome:
        write_stats(step, "/usr/bin/other")
        return outcome()

    assert "library not active in sh (proof: stats)" in judge(behaviour)[0].reasons


def test_a_process_that_never_allocated_is_no_proof() -> None:
    def behaviour(step: Step) -> Outcome:
        write_stats(step, SH, allocations=0)
        return outcome()

    assert judge(behaviour)[0].state == "FAIL"


def test_too_few_processes_fail() -> None:
    workload = dataclasses.replace(WORKLOAD, process_count=2)
    assert judge(active, workload)[0].reasons == ["library active in 1 processes, expected 2"]


def test_statistics_do_not_prove_what_maps_should() -> None:
    workload = dataclasses.replace(WORKLOAD, proof="maps")
    assert "library not active in sh (proof: maps)" in judge(active, workload)[0].reasons


def test_an_unexpected_status_fails_on_both_sides() -> None:
    def behaviour(step: Step) -> Outcome:
        write_stats(step, SH)
        return outcome(status=1)

    result, _ = judge(behaviour)
    assert result.reasons == [
        "without the library: exit status 1, expected 0",
        "with the library: exit status 1, expected 0",
    ]


def test_a_hang_fails() -> None:
    def behaviour(step: Step) -> Outcome:
        write_stats(step, SH)
        return dataclasses.replace(outcome(), timed_out=has_library(step), status=0)

    assert judge(behaviour)[0].reasons == ["with the library: sh: no end after 5 s"]


def test_broken_statistics_fail() -> None:
    def behaviour(step: Step) -> Outcome:
        if has_library(step):
            Path(step.environment["ALLOC_CONF"].split(":", 1)[1]).write_text("{")
        return outcome()

    result, _ = judge(behaviour)
    assert result.state == "FAIL"
    assert "no JSON" in result.reasons[0]


def test_a_failed_setup_fails() -> None:
    workload = dataclasses.replace(WORKLOAD, setup=(("sh", "prepare"),))
    result, _ = judge(lambda _: outcome(status=9, stderr="no space"), workload)
    assert result.reasons == ["setup sh: exit status 9: no space"]


def test_setup_runs_without_the_library() -> None:
    workload = dataclasses.replace(
        WORKLOAD, setup=(("sh", "prepare"),), environment={"ALLOC_CONF": "level:0", "D": "{dir}"}
    )
    result, (_, with_library) = judge(active, workload)
    assert result.state == "ok"
    prepare, main = with_library.steps
    assert not has_library(prepare)
    assert main.environment["ALLOC_CONF"].startswith("level:0,stats_at_exit:")
    assert main.environment["D"] == str(main.cwd)


def test_a_missing_program_is_skipped_with_its_package() -> None:
    workload = dataclasses.replace(WORKLOAD, programs=("no-such-program",), packages=("a", "b"))
    result, executors = judge(active, workload)
    assert (result.state, executors) == ("skipped", [])
    assert result.reasons == ["no-such-program missing: apt-get install a b"]


def test_placeholders_and_paths_are_never_missing() -> None:
    workload = dataclasses.replace(
        WORKLOAD, argv=("{python}",), setup=(("./made",), ("{venv}",)), programs=("/no/such", SH)
    )
    assert missing_programs(workload, "/usr/bin") == ["/no/such"]


def test_requirements_come_from_a_virtual_environment() -> None:
    workload = dataclasses.replace(WORKLOAD, argv=("{venv}", "x"), requirements=("a==1",))
    result, executors = judge(active, workload, venvs=Made(Path("/v")))
    assert result.state == "ok"
    assert executors[0].steps[0].argv == ["/v/a==1/bin/python", "x"]


def test_requirements_that_cannot_be_had_skip() -> None:
    workload = dataclasses.replace(WORKLOAD, requirements=("a==1",))
    result, executors = judge(active, workload, venvs=Made(Path("/v"), "no network"))
    assert (result.state, result.reasons, executors) == ("skipped", ["no network"], [])


def test_a_long_temporary_folder_is_avoided(tmp_path: Path) -> None:
    for folder in (str(tmp_path), "/nowhere/" + "x" * 100):
        base = make_base(folder)
        assert len(str(base / "gate")) < 108
        base.rmdir()


def test_the_environment_is_small() -> None:
    outer = {"PATH": "/v/bin:/usr/bin", "VIRTUAL_ENV": "/v", "LD_PRELOAD": "x", "SECRET": "y"}
    environment = base_environment(outer, Path("/w"))
    assert environment["PATH"] == "/usr/bin"
    assert environment["HOME"] == "/w"
    assert not {"LD_PRELOAD", "SECRET", "ALLOC_CONF"} & set(environment)


SERVER = dataclasses.replace(
    WORKLOAD,
    kind="server",
    server=Server(("sh", "ready"), "PONG", (("sh", "load"),), ("sh", "stop")),
)


def server_behaviour(step: Step) -> Outcome:
    if step.argv[1] == "ready":
        return outcome("PONG")
    return active(step)


def test_a_server_is_awaited_loaded_and_stopped() -> None:
    result, (_, with_library) = judge(server_behaviour, SERVER, alive_polls=9)
    assert (result.state, result.reasons) == ("ok", [])
    assert [argv[1] for argv in with_library.argvs()] == ["-c", "ready", "load", "stop"]
    _, ready, load, _ = with_library.steps
    assert not has_library(ready)
    assert has_library(load)


def test_a_server_can_be_stopped_by_a_signal() -> None:
    assert SERVER.server is not None
    server = dataclasses.replace(SERVER.server, stop=(), stop_signal="SIGTERM")
    workload = dataclasses.replace(SERVER, server=server)
    _, (without, _) = judge(server_behaviour, workload, alive_polls=9)
    assert without.runs[0].signals == [15]


@pytest.mark.parametrize(("status", "state"), [(-15, "ok"), (0, "ok"), (-9, "FAIL"), (3, "FAIL")])
def test_a_server_may_end_by_the_signal_that_stopped_it(status: int, state: str) -> None:
    def behaviour(step: Step) -> Outcome:
        if step.argv[1] == "ready":
            return outcome("PONG")
        write_stats(step, SH)
        return outcome(status=status if step.argv[1] == "-c" else 0)

    assert SERVER.server is not None
    by_signal = dataclasses.replace(SERVER.server, stop=(), stop_signal="SIGTERM")
    workload = dataclasses.replace(SERVER, server=by_signal)
    assert judge(behaviour, workload, alive_polls=9)[0].state == state
    # One that a command stops has no such end.
    assert judge(behaviour, SERVER, alive_polls=9)[0].state == ("FAIL" if status else "ok")


def test_a_server_that_ends_too_early_fails() -> None:
    result, _ = judge(server_behaviour, SERVER)
    assert "with the library: the server was not ready" in result.reasons


def test_a_server_that_never_answers_fails() -> None:
    workload = dataclasses.replace(SERVER, seconds=0.2)
    result, _ = judge(active, workload, alive_polls=10**9)
    assert "without the library: the server was not ready" in result.reasons


# The command.


def options(tmp_path: Path, *extra: str) -> argparse.Namespace:
    write_library(tmp_path / "lib.so")
    (tmp_path / "w").mkdir()
    for name in ("one", "two"):
        (tmp_path / "w" / f"{name}.toml").write_text(
            f'[workload]\nname = "{name}"\nwhy = "y"\nargv = ["sh"]\npackages = ["dash"]\n'
            'processes = ["sh"]\n[limits]\nseconds = 5\n'
        )
    parser = argparse.ArgumentParser()
    command.prepare_parser(parser)
    common = ["--folder", str(tmp_path / "w"), "--library", str(tmp_path / "lib.so")]
    return parser.parse_args([*extra, *common, "--json", str(tmp_path / "r.json")])


def answer(state: str) -> Callable[[Workload, Path], Result]:
    return lambda workload, _: Result(workload.name, state, workload.why, ["reason"])


@pytest.mark.parametrize(
    ("state", "flags", "status"),
    [
        ("ok", [], 0),
        ("FAIL", [], 1),
        ("skipped", [], 0),
        ("skipped", ["--no-skip"], 1),
    ],
)
def test_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, flags: list[str], status: int
) -> None:
    monkeypatch.delenv("LIBALLOC_NO_SKIP", raising=False)  # Set where no skip is allowed.
    assert command.run(options(tmp_path, *flags), answer(state)) == status
    document = json.loads((tmp_path / "r.json").read_text())
    assert [entry["state"] for entry in document["results"]] == [state, state]


def test_no_skip_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBALLOC_NO_SKIP", "1")
    assert command.run(options(tmp_path), answer("skipped")) == 1


def test_names_choose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(options(tmp_path, "t*"), answer("ok")) == 0
    assert "preload-smoke: 1 ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "count", "left_out"),
    [
        ((), 1, True),
        (("--full",), 2, False),
        (("two",), 1, False),
        (("t*", "one"), 1, True),
    ],
)
def test_long_ones_run_when_asked_for(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    asked: tuple[str, ...],
    count: int,
    left_out: bool,
) -> None:
    arguments = options(tmp_path, *asked)
    file = tmp_path / "w" / "two.toml"
    file.write_text(file.read_text().replace("[limits]", "long = true\n[limits]"))
    assert command.run(arguments, answer("ok")) == 0
    out = capsys.readouterr().out
    assert f"preload-smoke: {count} ok" in out
    assert ("1 long ones are left out; --full runs them" in out) is left_out


def test_an_unknown_name_is_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no workload is called 'three'"):
        command.run(options(tmp_path, "three"), answer("ok"))


def test_a_library_that_is_not_there_is_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options(tmp_path)
    argv = ["smoke", "--folder", str(tmp_path / "w"), "--library", str(tmp_path / "no.so")]
    assert cli.main(argv) == 2
    assert "no such library" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda good: b"", "no ELF file"),
        (lambda good: b"no library\n", "no ELF file"),
        (lambda good: b"!<arch>\n" + good, "an archive, no shared object"),
        (lambda good: good[:100], "ELF file"),
        (lambda good: good[:-1], "cut short"),
        # e_type ET_EXEC; e_machine of i386, and of another that the library is built for.
        (lambda good: good[:16] + b"\2" + good[17:], "no shared object"),
        (lambda good: good[:18] + b"\3" + good[19:], "no shared object"),
        (lambda good: good[:18] + OTHER_MACHINE + good[19:], "this machine is"),
        # DF_1_PIE: how the loader tells a program, which it does not preload.
        (lambda good: good.replace(*PIE_TAG), "a program"),
    ],
    ids=["empty", "text", "archive", "head", "cut", "program", "i386", "other", "pie"],
)
def test_what_cannot_be_preloaded_is_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
    reason: str,
) -> None:
    arguments = options(tmp_path)
    library = tmp_path / "lib.so"
    library.write_bytes(damage(library.read_bytes()))
    argv = ["smoke", "--folder", str(arguments.folder), "--library", str(library)]
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert reason in captured.err
    assert captured.err.startswith(f"liballoc smoke: {library}: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("place", "reason"), [("none/r.json", "no such folder"), ("/proc/r.json", "cannot be written")]
)
def test_results_that_cannot_be_written_are_usage_before_the_run(
    tmp_path: Path, place: str, reason: str
) -> None:
    arguments = options(tmp_path)
    arguments.json = tmp_path / place
    ran: list[str] = []

    def run_one(workload: Workload, _: Path) -> Result:
        ran.append(workload.name)
        return answer("ok")(workload, _)

    with pytest.raises(UsageError, match=reason):
        command.run(arguments, run_one)
    assert ran == []
    assert not (tmp_path / "none").exists()
