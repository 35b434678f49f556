"""The types of the keys of a workload file: what each accepts, and what is wrong with the rest."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

# Also the names of folders and the halves of `workload+variant`: nothing that a path, a glob or
# a shell reads in its own way.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# What pip is given: a version and nothing that could be an option or an address.
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+")

EMPTY = "must not be empty"


@dataclass(frozen=True)
class Fault:
    """What is wrong, and where below the key: `[0]`, `.NAME`, or nothing for the value itself."""

    where: str
    reason: str


Check = Callable[[object], Iterator[Fault]]


def first_fault(kind: str, value: object) -> Fault | None:
    """The first thing wrong with a value of that kind."""
    return next(KINDS[kind](value), None)


def _string(value: object) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield Fault("", "must be a string")
    elif "\0" in value:
        yield Fault("", "must not contain a NUL character")


def _name(value: object) -> Iterator[Fault]:
    yield from _string(value)
    if value == "":
        yield Fault("", EMPTY)
    if not NAME.fullmatch(str(value)):
        yield Fault("", "must be letters, digits, '.', '_' and '-', a letter or digit first")


def _integer(value: object) -> Iterator[Fault]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield Fault("", "must be an integer")


def _boolean(value: object) -> Iterator[Fault]:
    if not isinstance(value, bool):
        yield Fault("", "must be true or false")


def _number(value: object) -> Iterator[Fault]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        yield Fault("", "must be a number")


def _status(value: object) -> Iterator[Fault]:
    yield from _integer(value)
    assert isinstance(value, int)
    if not 0 <= value <= 255 and -value not in signal.valid_signals():
        yield Fault("", "must be 0 to 255, or minus the number of a signal")


def _array(value: object, words: str, item_check: Check) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield Fault("", f"must be {words}")
        return
    for index, item in enumerate(value):
        for fault in item_check(item):
            yield Fault(f"[{index}]{fault.where}", fault.reason)


def _filled(value: object) -> Iterator[Fault]:
    yield from _string(value)
    if value == "":
        yield Fault("", EMPTY)


def _strings(value: object) -> Iterator[Fault]:
    yield from _array(value, "an array of strings", _filled)


def _requirement(value: object) -> Iterator[Fault]:
    yield from _string(value)
    if not REQUIREMENT.fullmatch(str(value)):
        yield Fault("", "must be pinned: NAME==VERSION")


def _requirements(value: object) -> Iterator[Fault]:
    yield from _array(value, "an array of strings", _requirement)


def _command(value: object) -> Iterator[Fault]:
    # An argument may be empty, the program not.
    yield from _array(value, "an array of strings", _string)
    if value == []:
        yield Fault("", EMPTY)
    if isinstance(value, list) and value[0] == "":
        yield Fault("[0]", EMPTY)


def _commands(value: object) -> Iterator[Fault]:
    yield from _array(value, "an array of non-empty arrays of strings", _command)


def _variables(value: object) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault("", "must be a table of strings")
        return
    for name, text in value.items():
        if not name:
            yield Fault("", "the name of a variable must not be empty")
        elif "=" in name or "\0" in name:
            yield Fault(f".{name}", "the name of a variable has neither '=' nor NUL")
        for fault in _string(text):
            yield Fault(f".{name}", fault.reason)


KINDS: Mapping[str, Check] = {
    "string": _string,
    "name": _name,
    "integer": _integer,
    "boolean": _boolean,
    "number": _number,
    "status": _status,
    "strings": _strings,
    "requirements": _requirements,
    "command": _command,
    "commands": _commands,
    "variables": _variables,
}
