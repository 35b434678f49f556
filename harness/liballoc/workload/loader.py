"""Reads workload files. Whatever is wrong is one line, `file: key: reason`, and exit status 2."""

from __future__ import annotations

import dataclasses
import re
import signal
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import tomli

from liballoc.errors import UsageError, one_line
from liballoc.workload import kinds, schema
from liballoc.workload.schema import Key, Server, Substitution, Workload

Table = dict[str, Any]


class WorkloadFileError(UsageError):
    """A workload file that cannot be used."""

    def __init__(self, file: Path, key: str, reason: str) -> None:
        # Keys and paths may hold anything, line ends and terminal escapes too.
        super().__init__(one_line(f"{file}: {key}: {reason}"))


def load_folder(folder: Path) -> list[Workload]:
    """Every workload of a folder, in the order of the file names; names are unique."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise UsageError(f"{folder}: no workload file (*.toml) in it")
    return [workload for file in files for workload in load_file(file)]


def load_file(file: Path) -> list[Workload]:
    """The workload of a file, and its variants."""
    try:
        document = tomli.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkloadFileError(file, "file", error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise WorkloadFileError(file, "file", "is not UTF-8") from error
    except tomli.TOMLDecodeError as error:
        raise WorkloadFileError(file, "syntax", str(error)) from error
    except (ValueError, RecursionError) as error:
        # Beyond what the parser itself bounds: numbers of thousands of digits, deep nesting.
        raise WorkloadFileError(file, "syntax", "a number or a nesting too large") from error
    _check_document(file, document)
    base = _make_workload(file, document)
    found = [base]
    for variant in document.get("variants", []):
        found.append(_make_variant(base, variant))
    return found


def _check_document(file: Path, document: Table) -> None:
    for name in document:
        if name not in schema.TABLES:
            raise WorkloadFileError(file, name, f"unknown table; known: {_names(schema.TABLES)}")
    for name in schema.REQUIRED_TABLES:
        if name not in document:
            raise WorkloadFileError(file, name, "missing table")
    for name, keys in schema.TABLES.items():
        if name in document:
            if name in schema.REPEATED_TABLES:
                _check_repeated(file, name, document[name], keys)
            else:
                _check_table(file, name, document[name], keys)
    _check_relations(file, document)


def _check_repeated(file: Path, name: str, value: object, keys: Sequence[Key]) -> None:
    if not isinstance(value, list):
        raise WorkloadFileError(file, name, f"must be an array of tables: [[{name}]]")
    for index, table in enumerate(value):
        _check_table(file, f"{name}[{index}]", table, keys)


def _check_table(file: Path, name: str, table: object, keys: Sequence[Key]) -> None:
    if not isinstance(table, dict):
        raise WorkloadFileError(file, name, "must be a table")
    known = {key.name: key for key in keys}
    for entry, value in table.items():
        if entry not in known:
            raise WorkloadFileError(file, f"{name}.{entry}", f"unknown key; known: {_names(known)}")
        _check_value(file, f"{name}.{entry}", value, known[entry])
    for key in keys:
        if key.required and key.name not in table:
            raise WorkloadFileError(file, f"{name}.{key.name}", "missing")


def _check_value(file: Path, where: str, value: object, key: Key) -> None:
    fault = kinds.first_fault(key.kind, value)
    if fault is not None:
        raise WorkloadFileError(file, f"{where}{fault.where}", fault.reason)
    if key.required and not key.may_be_empty and value in ("", []):
        raise WorkloadFileError(file, where, kinds.EMPTY)
    if key.choices and value not in key.choices:
        raise WorkloadFileError(file, where, f"must be one of {', '.join(key.choices)}")
    if isinstance(value, int | float):
        # Written so that nan, which is neither, fails the first.
        if key.minimum is not None and not value >= key.minimum:
            raise WorkloadFileError(file, where, f"must be at least {key.minimum:.15g}")
        if key.maximum is not None and value > key.maximum:
            raise WorkloadFileError(file, where, f"must be at most {key.maximum:.15g}")


def _check_relations(file: Path, document: Table) -> None:
    table = document["workload"]
    if table["name"] != file.stem:
        raise WorkloadFileError(file, "workload.name", f"must be the file's name, {file.stem!r}")
    is_server = table.get("kind", "command") == "server"
    if is_server != ("server" in document):
        reason = "missing table" if is_server else 'needs kind = "server"'
        raise WorkloadFileError(file, "server", reason)
    _check_files(file, table.get("files", []))
    _check_variants(file, document.get("variants", []))
    for index, name in enumerate(table.get("outputs", [])):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise WorkloadFileError(
                file, f"workload.outputs[{index}]", "must lie in the working folder"
            )
    if "{venv}" in str(document) and not table.get("requirements"):
        raise WorkloadFileError(file, "workload.requirements", "missing, and {venv} is used")
    for index, entry in enumerate(document.get("normalise", [])):
        _check_pattern(file, f"normalise[{index}]", entry)
    if is_server:
        _check_server(file, document["server"])


def _check_files(file: Path, names: Sequence[str]) -> None:
    """Files lie in the workload's folder, links followed, and do not overwrite each other."""
    folder = file.parent.resolve()
    taken: set[str] = set()
    for index, name in enumerate(names):
        where = f"workload.files[{index}]"
        outside = WorkloadFileError(file, where, "must lie in the folder of the workload file")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise outside
        try:
            found = (folder / path).resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself.
            raise WorkloadFileError(file, where, f"no such file: {name}") from error
        if not found.is_relative_to(folder):
            raise outside
        if not found.is_file():
            raise WorkloadFileError(file, where, f"no such file: {name}")
        if path.name in taken:
            raise WorkloadFileError(file, where, f"another one is called {path.name!r} too")
        taken.add(path.name)


def _check_variants(file: Path, variants: Sequence[Table]) -> None:
    """Each has a name of its own: it chooses the variant and names it in the results."""
    first: dict[str, int] = {}
    for index, variant in enumerate(variants):
        name = variant["name"]
        if name in first:
            reason = f"variants[{first[name]}] has it already: {name!r}"
            raise WorkloadFileError(file, f"variants[{index}].name", reason)
        first[name] = index


def _check_pattern(file: Path, where: str, entry: Table) -> None:
    part = "pattern"
    reason = "no regular expression"
    try:
        with warnings.catch_warnings():
            # What Python only warns of ("possible nested set") is not meant as it will be read.
            warnings.simplefilter("error")
            expression = re.compile(entry["pattern"])
            part, reason = "replace", "no template"
            # The template is parsed before anything is matched, so an empty text checks it.
            expression.sub(entry["replace"], "")
    except (re.error, IndexError, ValueError, OverflowError, RecursionError, Warning) as error:
        # Beside its own error, re lets through what its parsers of numbers and groups raise.
        raise WorkloadFileError(file, f"{where}.{part}", f"{reason}: {error}") from error


def _check_server(file: Path, table: Table) -> None:
    if ("stop" in table) == ("stop_signal" in table):
        raise WorkloadFileError(file, "server.stop", "give either stop or stop_signal")
    name = table.get("stop_signal")
    if name is not None and name not in signal.Signals.__members__:
        raise WorkloadFileError(file, "server.stop_signal", f"no signal: {name}")


def _make_workload(file: Path, document: Table) -> Workload:
    table = document["workload"]
    return Workload(
        name=table["name"],
        why=table["why"],
        kind=table.get("kind", "command"),
        argv=tuple(table["argv"]),
        packages=tuple(table["packages"]),
        requirements=tuple(table.get("requirements", ())),
        long=table.get("long", False),
        quick=table.get("quick", False),
        programs=tuple(table.get("programs", ())),
        setup=tuple(tuple(argv) for argv in table.get("setup", ())),
        files=tuple(table.get("files", ())),
        outputs=tuple(table.get("outputs", ())),
        stdin=table.get("stdin", ""),
        environment=dict(table.get("environment", {})),
        status=table.get("status", 0),
        proof=table.get("proof", "stats"),
        processes=tuple(table["processes"]),
        process_count=table.get("process_count", len(table["processes"])),
        seconds=float(document["limits"]["seconds"]),
        substitutions=tuple(Substitution(**entry) for entry in document.get("normalise", ())),
        server=_make_server(document.get("server")),
        source=str(file),
    )


def _make_server(table: Table | None) -> Server | None:
    if table is None:
        return None
    return Server(
        ready=tuple(table["ready"]),
        ready_output=table["ready_output"],
        load=tuple(tuple(argv) for argv in table["load"]),
        stop=tuple(table.get("stop", ())),
        stop_signal=table.get("stop_signal", ""),
    )


def _make_variant(base: Workload, table: Table) -> Workload:
    return dataclasses.replace(
        base,
        name=f"{base.name}+{table['name']}",
        why=table.get("why", base.why),
        environment={**base.environment, **table["environment"]},
        long=table.get("long", base.long),
        # The quick form takes one of a file's, the plain one.
        quick=False,
    )


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(names)
