"""Run a command on liballoc: the preload done right.

    liballoc run -- redis-server redis.conf
    liballoc run --conf decay_ms:500 --python -- python3 service.py

Finds the library for the command's architecture and sets LD_PRELOAD, before any that you have set.
A command that nothing can be preloaded into (static, set-uid) is refused.

--no-children: the command gets the library and the programs that it starts do not. LD_PRELOAD is
inherited, and what takes it out of the environment early enough would have to run in the process;
so the command is started through its dynamic loader with --preload instead, and the environment
says nothing. The price: /proc/self/exe is the loader, so a program that finds or restarts itself by
that link (Java, Chrome) does not work this way, and a wrapper script is itself the command: what it
starts or turns into goes without. Processes made by fork alone keep the library, as they must. What
--python and --conf set is in the environment and inherited.
"""

from __future__ import annotations

import argparse
import os
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from liballoc.allocators import preload
from liballoc.elf import image, program
from liballoc.elf.program import Program
from liballoc.errors import LiballocError
from liballoc.workload import wrap

NAME = "run"
EPILOG = (
    "exit status: the command's, 128 and the number of the signal that ended it; 125 liballoc's "
    "own failure, 126 the command cannot be executed, 127 it is not found"
)

LOADER_SECONDS_MAX = 10

Start = Callable[[Sequence[str], Mapping[str, str]], int]


class RunError(LiballocError):
    """The command was not started; statuses as those of env(1)."""

    def __init__(self, text: str, exit_status: int = 125) -> None:
        super().__init__(text)
        self.exit_status = exit_status


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc run`."""
    parser.add_argument("--conf", help="options, as in ALLOC_CONF: decay_ms:500,thp:never")
    parser.add_argument(
        "--python", action="store_true", help="PYTHONMALLOC=malloc: every object from malloc"
    )
    parser.add_argument("--no-children", action="store_true", help="not in programs it starts")
    parser.add_argument("--exec", action="store_true", help="become the command; no parent waits")
    parser.add_argument("--library", dest="preload", type=Path, help="the .so to preload")
    parser.add_argument("words", nargs="+", metavar="CMD", help="the command, after --")


def find_program(name: str, path: str) -> Program:
    """The command's file, if it is one that a library can be preloaded into."""
    try:
        file = program.find(name, path)
    except FileNotFoundError as error:
        raise RunError(str(error), 127) from error
    except PermissionError as error:
        raise RunError(str(error), 126) from error
    found = program.read(file)
    if found is None:
        raise RunError(f"{file}: neither a program nor a script that says its interpreter", 126)
    if not found.architecture:
        raise RunError(f"{file}: of an architecture that the library is not built for")
    if not found.loader:
        raise RunError(f"{file}: linked statically, nothing can be preloaded into it")
    status = found.path.stat()
    if status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid():
        raise RunError(f"{file}: set-uid, the loader preloads nothing into it")
    if not found.words:
        return replace(found, path=file)
    return replace(found, path=file, words=interpreter(found.words, path))


def interpreter(words: Sequence[str], path: str) -> tuple[str, ...]:
    """A script's interpreter, `env NAME` resolved: env would be the program, NAME its child."""
    if Path(words[0]).name == "env" and len(words) == 2 and not words[1].startswith("-"):
        try:
            return (str(program.find(words[1], path)),)
        except OSError as error:
            raise RunError(str(error), 127) from error
    return tuple(words)


def find_library(given: Path | None, architecture: str) -> Path:
    """The library for the command."""
    try:
        library = (given or preload.find_library(architecture)).resolve()
        image.check_preloadable(library, architecture)
    except LiballocError as error:
        raise RunError(str(error)) from error
    if any(character in str(library) for character in " :"):
        raise RunError(f"{library}: a path with a space or a colon cannot be preloaded")
    return library


def environment_of(arguments: argparse.Namespace, outer: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with what the flags ask for."""
    changed = dict(outer)
    if arguments.conf:
        present = changed.get("ALLOC_CONF")
        changed["ALLOC_CONF"] = f"{present},{arguments.conf}" if present else arguments.conf
    if arguments.python:
        changed["PYTHONMALLOC"] = "malloc"
    return changed


def file_of(found: Program, words: Sequence[str]) -> str:
    """The command's file; a path as it was given: a script may start "$0" again, which is ./x."""
    return words[0] if "/" in words[0] else str(found.path)


def ask_loader(loader: str) -> str:
    """What a loader says of its options."""
    try:
        done = subprocess.run(
            [loader, "--help"], capture_output=True, text=True, errors="replace", check=False,
            stdin=subprocess.DEVNULL, timeout=LOADER_SECONDS_MAX, env={},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{loader}: {error}") from error
    return done.stdout + done.stderr


def through_loader(found: Program, library: Path, words: Sequence[str], present: str) -> list[str]:
    """The command line that preloads without the environment."""
    for text in present.replace(":", " ").split():
        other = program.read(Path(text))
        if other is not None and other.has_malloc:
            raise RunError(f"LD_PRELOAD has {text}, whose malloc would come first")
    help_text = ask_loader(found.loader)
    if "--preload" not in help_text and "musl" not in help_text:
        raise RunError(f"{found.loader}: this loader has no --preload (glibc 2.30 has)")
    named = "--argv0" in help_text or "musl" in help_text
    # A script's interpreter is what is loaded; the script is its argument.
    argv0 = found.words[0] if found.words else words[0]
    target = [*found.words, file_of(found, words)]
    options = ["--argv0", argv0] if named else []
    return [found.loader, "--preload", str(library), *options, *target, *words[1:]]


def run(
    arguments: argparse.Namespace,
    start: Start = wrap.run,
    become: Callable[[Sequence[str], Mapping[str, str]], None] = wrap.become,
) -> int:
    """Start the command and end as it ends."""
    environment = environment_of(arguments, os.environ)
    words = arguments.words
    found = find_program(words[0], environment.get("PATH", os.defpath))
    library = find_library(arguments.preload, found.architecture)
    present = environment.get("LD_PRELOAD", "")
    if arguments.no_children:
        argv = through_loader(found, library, words, present)
    else:
        environment["LD_PRELOAD"] = preload.value([library], present)
        argv = [file_of(found, words), *words[1:]]
    try:
        if arguments.exec:
            become(argv, environment)
        return start(argv, environment)
    except FileNotFoundError as error:
        raise RunError(f"{words[0]}: {error.strerror}", 127) from error
    except OSError as error:
        raise RunError(f"{words[0]}: {error.strerror}", 126) from error
