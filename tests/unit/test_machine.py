"""liballoc.measure.machine, and how a command under liballoc run ends."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from liballoc import cli
from liballoc.commands import run as run_command
from liballoc.elf import program
from liballoc.elf.program import Program
from liballoc.measure.machine import cpu_name, describe, system_name
from liballoc.workload import wrap

COMMANDS = list(cli.load_commands(("run",)))


def test_cpu_name(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor: 0\nmodel name\t: A Fast One\n")
    assert cpu_name(file) == "A Fast One"
    assert cpu_name(tmp_path / "none") == platform.machine()


def test_what_describes_a_machine(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text('NAME=x\nPRETTY_NAME="Debian 12"\n')
    (tmp_path / "sys/kernel/mm/transparent_hugepage").mkdir(parents=True)
    (tmp_path / "sys/kernel/mm/transparent_hugepage/enabled").write_text("[always] never\n")
    found = describe(tmp_path)
    assert (found["system"], found["huge_pages"]) == ("Debian 12", "[always] never")
    assert found["governor"] == ""
    assert found["memory"] > 1 << 20
    assert system_name(tmp_path / "none") == ""
    (tmp_path / "etc" / "os-release").write_text("NAME=x\n")
    assert system_name(tmp_path / "etc" / "os-release") == ""


@pytest.mark.parametrize(("wait", "status"), [(7 << 8, 7), (0, 0), (9, 137), (15 | 0x80, 143)])
def test_exit_statuses(wait: int, status: int) -> None:
    assert wrap.exit_status(wait) == status


# In a process of its own: the test's may have threads.
WRAP = """
import os, signal, sys
from liballoc.workload import wrap
before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
print(wrap.run(["/bin/sh", "-c", sys.argv[1]], {"PATH": os.defpath}))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []) == before)
"""


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 6", 6),
        ("kill -9 $$", 137),
        # What a handler must see reaches the command, whose mask is empty.
        ("trap 'exit 5' USR1; kill -USR1 $$; exit 1", 5),
    ],
)
def test_a_command_is_run_and_its_signals_are_blocked_no_longer(
    script: str, status: int, ignored: bool
) -> None:
    disposition = signal.SIG_IGN if ignored else signal.SIG_DFL
    done = subprocess.run(
        [sys.executable, "-c", WRAP, script],
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, disposition) and None,
        env={**os.environ, "PYTHONPATH": str(Path(wrap.__file__).parents[2])},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{status}\nTrue\n", "")


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        wrap.run(["/no/such"], {})


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Program(Path("/bin/sh"), "", "/ld"), "of an architecture that the library is not built"),
        (Program(Path("/bin/sh"), "x86_64", ""), "linked statically"),
    ],
)
def test_what_nothing_can_be_preloaded_into_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Program, reason: str
) -> None:
    monkeypatch.setattr(program, "read", lambda path: found)
    assert cli.main(["run", "--", "sh"], COMMANDS) == 125
    assert reason in capsys.readouterr().err


def test_set_uid_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "tool"
    file.write_text("x")
    file.chmod(0o4755)
    monkeypatch.setattr(program, "read", lambda path: Program(file, "x86_64", "/ld"))
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(run_command.RunError, match="set-uid"):
        run_command.find_program(str(file), "")


def test_the_interpreter_behind_env_is_the_program() -> None:
    path = os.defpath
    shell = str(program.find("sh", path))
    assert run_command.interpreter(("/usr/bin/env", "sh"), path) == (shell,)
    assert run_command.interpreter(("/usr/bin/env", "-S"), path) == ("/usr/bin/env", "-S")
    assert run_command.interpreter(("/bin/sh", "-e"), path) == ("/bin/sh", "-e")
    with pytest.raises(run_command.RunError, match="no such program"):
        run_command.interpreter(("/usr/bin/env", "no-such-program"), path)


def test_what_exec_refuses_has_envs_statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_command, "find_library", lambda given, architecture: Path("/x.so"))
    parse = cli.build_parser(COMMANDS).parse_args
    for error, status in ((FileNotFoundError(2, "gone"), 127), (PermissionError(13, "no"), 126)):

        def start(argv: object, environment: object, error: OSError = error) -> int:
            raise error

        with pytest.raises(run_command.RunError) as caught:
            run_command.run(parse(["run", "--", "sh"]), start)
        assert caught.value.exit_status == status
    became: list[list[str]] = []
    run_command.run(
        parse(["run", "--exec", "--", "sh", "-c", ":"]),
        lambda argv, environment: 3,
        lambda argv, environment: became.append(list(argv)),
    )
    assert became[0][1:] == ["-c", ":"]
