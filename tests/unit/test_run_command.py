"""liballoc run: what is started how, and how it ends; real processes, no library of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from liballoc import cli
from liballoc.commands import run as run_command
from tests.unit.fakes import write_library

COMMANDS = list(cli.load_commands(("run",)))
HARNESS = Path(__file__).parents[2] / "harness"
SHELL = Path("/bin/sh").resolve()
# Any shared object will do as a library: what is tested is how it gets in.
STAND_IN = "libz.so.1", "libm.so.6"


@pytest.fixture
def library() -> Path:
    for name in STAND_IN:
        for place in Path("/lib").glob(f"*-linux-gnu/{name}"):
            return place.resolve()
    pytest.skip("no stand-in for the library where Debian has it")


class Started:
    """What would have been run."""

    def __init__(self, status: int = 0) -> None:
        self.argv: list[str] = []
        self.environment: dict[str, str] = {}
        self.status = status

    def __call__(self, argv: Sequence[str], environment: Mapping[str, str]) -> int:
        self.argv, self.environment = list(argv), dict(environment)
        return self.status


def start(*words: str, status: int = 0) -> Started:
    arguments = cli.build_parser(COMMANDS).parse_args(["run", *words])
    started = Started(status)
    assert run_command.run(arguments, started) == status
    return started


def liballoc(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liballoc", "run", *words], capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(HARNESS), **environment},
    )  # fmt: skip


def test_the_preload_comes_before_the_users(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("ALLOC_CONF", "thp:never")
    plain = start("--library", str(library), "--", "sh", "-c", "x", status=3)
    assert plain.argv[1:] == ["-c", "x"]
    assert plain.environment["LD_PRELOAD"] == str(library)
    assert plain.environment["ALLOC_CONF"] == "thp:never"
    assert "PYTHONMALLOC" not in plain.environment
    monkeypatch.setenv("LD_PRELOAD", "/other.so")
    more = start("--library", str(library), "--python", "--conf", "decay_ms:5", "--", "sh")
    assert more.environment["LD_PRELOAD"] == f"{library} /other.so"
    assert more.environment["ALLOC_CONF"] == "thp:never,decay_ms:5"
    assert more.environment["PYTHONMALLOC"] == "malloc"


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["--", "no-such-program"], 127, "no-such-program: no such program"),
        (["--", "/no/such"], 127, "no such program"),
        (["--", "{plain}"], 126, "no file that may be executed"),
        (["--", "{text}"], 126, "neither a program nor a script"),
        (["--library", "{text}", "--", "sh"], 125, "no ELF file"),
        (["--library", "{spaced}", "--", "sh"], 125, "a space or a colon"),
        (["--bogus", "--", "sh"], 125, ""),
        ([], 125, ""),
    ],
)
def test_our_own_errors_are_those_of_env(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, reason: str
) -> None:
    names = {name: str(tmp_path / name) for name in ("plain", "text")}
    names["spaced"] = str(tmp_path / "a b.so")
    write_library(tmp_path / "a b.so")
    for name in ("plain", "text"):
        Path(names[name]).write_text("text")
    Path(names["text"]).chmod(0o755)
    found = cli.main(["run", *(word.format(**names) for word in words)], COMMANDS)
    assert found == status
    assert reason in capsys.readouterr().err


def test_the_commands_end_is_ours(library: Path) -> None:
    own = ("--library", str(library), "--", "sh", "-c")
    assert liballoc(*own, "exit 7").returncode == 7
    assert liballoc(*own, "kill -TERM $$").returncode == 128 + signal.SIGTERM
    assert liballoc(*own, "kill -KILL $$").returncode == 128 + signal.SIGKILL
    assert liballoc("--exec", *own, "exit 9").returncode == 9


def test_a_pipe_that_closes_ends_the_command(library: Path) -> None:
    # Python ignores SIGPIPE, and the command must not inherit that.
    text = "yes | head -n1; echo ${PIPESTATUS[0]}"
    done = liballoc("--library", str(library), "--", "bash", "-c", text)
    assert done.stdout == "y\n141\n"


def test_a_signal_is_passed_on(library: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    text = f"trap 'exit 4' TERM; echo >{ready}; while :; do sleep 0.01; done"
    words = [sys.executable, "-m", "liballoc", "run", "--library", str(library), "--"]
    process = subprocess.Popen(
        [*words, "sh", "-c", text], env={**os.environ, "PYTHONPATH": str(HARNESS)}
    )
    ready.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 4


LOOK = 'grep -c {name} /proc/$$/maps; grep -c {name} /proc/self/maps; echo "[$LD_PRELOAD]"; :'


def test_children_have_it_or_not(library: Path) -> None:
    look = LOOK.format(name=library.name)
    own = ("--library", str(library))
    usual = liballoc(*own, "--", "sh", "-c", look).stdout.split()
    assert "0" not in usual[:2]
    assert usual[2] == f"[{library}]"
    alone = liballoc(*own, "--no-children", "--", "sh", "-c", look).stdout.split()
    assert alone[0] != "0"
    assert alone[1:] == ["0", "[]"]


def test_scripts_go_through_the_loader_too(library: Path, tmp_path: Path) -> None:
    for line in ("#!/bin/sh", "#!/usr/bin/env sh"):
        script = tmp_path / "script"
        script.write_text(f'{line}\ngrep -c {library.name} /proc/$$/maps; echo "$0 $1"\n')
        script.chmod(0o755)
        done = liballoc("--library", str(library), "--no-children", "--", str(script), "a b")
        count, said = done.stdout.splitlines()
        assert count != "0"
        assert said == f"{script} a b"
    script.write_text("#!/usr/bin/env no-such-interpreter\n")
    assert liballoc("--library", str(library), "--no-children", str(script)).returncode == 127


def test_a_script_knows_its_path(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\n[ "$1" ] || exec "$0" again; echo "$0 $1"\n')
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for flags in ((), ("--no-children",)):
        done = liballoc("--library", str(library), *flags, "--", "./script")
        assert done.stdout == "./script again\n", done.stderr


def test_a_malloc_of_the_users_that_would_come_first_is_refused(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    libc = next(Path("/lib").glob("*-linux-gnu/libc.so.6"))
    monkeypatch.setenv("LD_PRELOAD", str(libc))
    words = ["run", "--no-children", "--library", str(library), "--", "sh"]
    assert cli.main(words, COMMANDS) == 125
    assert "whose malloc would come first" in capsys.readouterr().err


def test_a_loader_that_cannot_is_refused(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(run_command, "ask_loader", lambda loader: "Usage: ld.so --verify")
    words = ["run", "--no-children", "--library", str(library), "--", "sh"]
    assert cli.main(words, COMMANDS) == 125
    assert "this loader has no --preload" in capsys.readouterr().err
