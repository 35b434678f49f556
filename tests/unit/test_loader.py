"""liballoc.workload.loader: what is read, and one line for everything that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liballoc import cli
from liballoc.errors import UsageError
from liballoc.workload.loader import WorkloadFileError, load_file, load_folder

GOOD = """
[workload]
name = "x"
why = "because"
argv = ["prog", "a"]
packages = ["pkg"]
processes = ["prog"]

[limits]
seconds = 5
"""

SERVER = """
[server]
ready = ["ping"]
ready_output = "PONG"
load = [["bench", "1"]]
stop = ["quit"]
"""


def write(folder: Path, text: str, name: str = "x.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_defaults(tmp_path: Path) -> None:
    (workload,) = load_file(write(tmp_path, GOOD))
    assert workload.argv == ("prog", "a")
    assert (workload.kind, workload.proof, workload.status) == ("command", "stats", 0)
    assert (workload.seconds, workload.process_count) == (5.0, 1)
    assert workload.commands() == [("prog", "a")]


def test_everything(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.sh").touch()
    text = GOOD.replace(
        'why = "because"',
        'why = "because"\nkind = "server"\nprograms = ["p"]\nsetup = [["s"]]\n'
        'files = ["src/a.sh"]\n'
        'outputs = ["o"]\nstdin = "in"\nstatus = -6\nproof = "maps"\nprocess_count = 3\n'
        'environment = { A = "b" }\nrequirements = ["numpy==2.4.6"]',
    )
    text += SERVER + '[[normalise]]\npattern = "(p)id"\nreplace = "\\\\1"\nstream = "stderr"\n'
    text += '[[variants]]\nname = "v"\nwhy = "other"\nenvironment = { C = "d" }\n'
    text += "long = true\n"
    base, variant = load_file(write(tmp_path, text))
    assert (base.long, variant.long) == (False, True)
    assert base.requirements == variant.requirements == ("numpy==2.4.6",)
    assert base.server is not None
    assert base.server.load == (("bench", "1"),)
    assert base.commands() == [("s",), ("prog", "a"), ("ping",), ("bench", "1"), ("quit",)]
    assert base.substitutions[0].replace == "\\1"
    assert (variant.name, variant.why) == ("x+v", "other")
    assert variant.environment == {"A": "b", "C": "d"}
    assert variant.argv == base.argv


VARIANT = """
[[variants]]
name = "{}"
environment = {{ A = "b" }}
"""


def with_line(line: str) -> str:
    """The good file with one more line in [workload]."""
    return GOOD.replace("[limits]", f"{line}\n[limits]")


SERVER_GOOD = with_line('kind = "server"') + SERVER


FAULTS = [
    ("unknown table", GOOD + "[extra]\n", "extra", "unknown table; known: workload"),
    ("missing table", GOOD.replace("[limits]\nseconds = 5\n", ""), "limits", "missing table"),
    ("table that is none", "workload = 1\n[limits]\nseconds=1\n", "workload", "must be a table"),
    ("unknown key", with_line("colour = 1"), "workload.colour", "unknown key"),
    ("missing key", GOOD.replace('why = "because"', ""), "workload.why", "missing"),
    ("string", GOOD.replace('"because"', "7"), "workload.why", "must be a string"),
    ("empty", GOOD.replace('"because"', '""'), "workload.why", "must not be empty"),
    ("strings", GOOD.replace('["pkg"]', '["pkg", 1]'), "workload.packages[1]", "be a string"),
    ("no array", GOOD.replace('["prog", "a"]', '"prog"'), "workload.argv", "an array of strings"),
    ("empty array", GOOD.replace('["prog", "a"]', "[]"), "workload.argv", "must not be empty"),
    ("number", GOOD.replace("seconds = 5", 'seconds = "5"'), "limits.seconds", "must be a number"),
    (
        "boolean",
        GOOD.replace("seconds = 5", "seconds = true"),
        "limits.seconds",
        "must be a number",
    ),
    ("minimum", GOOD.replace("seconds = 5", "seconds = 0"), "limits.seconds", "at least 0.001"),
    ("integer", with_line("status = 1.5"), "workload.status", "an integer"),
    ("boolean wanted", with_line('long = "yes"'), "workload.long", "must be true or false"),
    ("no version", with_line('requirements = ["a>=1"]'), "workload.requirements[0]", "pinned"),
    ("no requirements", with_line('stdin = "{venv}"'), "workload.requirements", "{venv} is used"),
    ("choice", with_line('proof = "x"'), "workload.proof", "one of stats, maps"),
    ("commands", with_line("setup = [[]]"), "workload.setup[0]", "must not be empty"),
    (
        "table of strings",
        with_line("environment = {A = 1}"),
        "workload.environment.A",
        "must be a string",
    ),
    ("other name", GOOD.replace('"x"', '"y"'), "workload.name", "must be the file's name, 'x'"),
    ("absent file", with_line('files = ["no"]'), "workload.files[0]", "no such"),
    ("output outside", with_line('outputs = ["../o"]'), "workload.outputs[0]", "working folder"),
    ("server table missing", with_line('kind = "server"'), "server", "missing"),
    ("server table too much", GOOD + SERVER, "server", 'needs kind = "server"'),
    ("no array of tables", GOOD + "[normalise]\npattern = 'a'\n", "normalise", "[[normalise]]"),
    (
        "pattern",
        GOOD + "[[normalise]]\npattern = '('\nreplace = ''\n",
        "normalise[0].pattern",
        "no regular expression",
    ),
    (
        "template",
        GOOD + "[[normalise]]\npattern = 'a'\nreplace = '\\2'\n",
        "normalise[0].replace",
        "no template",
    ),
    ("entry", GOOD + "[[normalise]]\npattern = 'a'\n", "normalise[0].replace", "missing"),
    ("syntax", "[workload\n", "syntax", "line 1"),
    ("key with a line end", with_line('"a\\nb" = 1'), "workload.a\\nb", "unknown key"),
    ("key with an escape", with_line('"a\\u001b[2J" = 1'), "workload.a\\x1b[2J", "unknown key"),
    ("table with a line end", GOOD + '["a\\u2028b"]\n', "a\\u2028b", "unknown table"),
    ("no number", GOOD.replace("= 5", "= nan"), "limits.seconds", "at least 0.001"),
    ("for ever", GOOD.replace("= 5", "= inf"), "limits.seconds", "at most 86400"),
    ("hexadecimal", GOOD.replace("= 5", f"= 0x{'f' * 6000}"), "limits.seconds", "at most 86400"),
    ("no program", GOOD.replace('"prog", "a"', '"", "a"'), "workload.argv[0]", "must not be empty"),
    ("no setup program", with_line('setup = [["a"], [""]]'), "workload.setup[1][0]", "empty"),
    ("empty item", GOOD.replace('"pkg"', '""'), "workload.packages[0]", "must not be empty"),
    ("empty output", with_line('outputs = ["o", ""]'), "workload.outputs[1]", "not be empty"),
    ("NUL in argv", GOOD.replace('"a"]', '"\\u0000"]'), "workload.argv[1]", "NUL"),
    ("NUL in a string", GOOD.replace("because", "a\\u0000"), "workload.why", "NUL"),
    ("NUL in stdin", with_line('stdin = "\\u0000"'), "workload.stdin", "NUL"),
    ("NUL in setup", with_line('setup = [["a\\u0000"]]'), "workload.setup[0][0]", "NUL"),
    (
        "NUL in a value",
        with_line('environment = {A = "\\u0000"}'),
        "workload.environment.A",
        "NUL",
    ),
    (
        "NUL in a name",
        with_line('environment = {"\\u0000" = "a"}'),
        "workload.environment.\\x00",
        "NUL",
    ),
    (
        "variable without name",
        with_line('environment = {"" = "a"}'),
        "workload.environment",
        "empty",
    ),
    (
        "variable with =",
        with_line('environment = {"A=B" = "a"}'),
        "workload.environment.A=B",
        "'='",
    ),
    ("two variants", GOOD + 2 * VARIANT.format("v"), "variants[1].name", "variants[0] has it"),
    ("variant /", GOOD + VARIANT.format("a/b"), "variants[0].name", "letters, digits"),
    ("variant ..", GOOD + VARIANT.format(".."), "variants[0].name", "letters, digits"),
    ("variant .v", GOOD + VARIANT.format(".v"), "variants[0].name", "letters, digits"),
    ("variant a+b", GOOD + VARIANT.format("a+b"), "variants[0].name", "letters, digits"),
    ("file from the root", with_line('files = ["/etc/passwd"]'), "workload.files[0]", "lie in"),
    ("file above", with_line('files = ["../inside/a"]'), "workload.files[0]", "must lie in"),
    ("file name too long", with_line(f'files = ["{"a" * 300}"]'), "workload.files[0]", "no such"),
    ("status above", with_line("status = 256"), "workload.status", "0 to 255"),
    ("signal above", with_line("status = -65"), "workload.status", "number of a signal"),
    (
        "processes",
        with_line("process_count = 9999999"),
        "workload.process_count",
        "at most 4194304",
    ),
    ("stopped by nothing", SERVER_GOOD.replace('["quit"]', "[]"), "server.stop", "not be empty"),
    (
        "repetition",
        GOOD + "[[normalise]]\npattern = 'a{99999999999}'\nreplace = ''\n",
        "normalise[0].pattern",
        "no regular expression",
    ),
    (
        "ambiguous set",
        GOOD + "[[normalise]]\npattern = '[[a]'\nreplace = ''\n",
        "normalise[0].pattern",
        "no regular expression",
    ),
    (
        "group number",
        GOOD + f"[[normalise]]\npattern = 'a'\nreplace = '\\g<{'9' * 5000}>'\n",
        "normalise[0].replace",
        "no template",
    ),
]


@pytest.mark.parametrize(
    ("text", "key", "reason"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_a_fault_is_file_key_reason(tmp_path: Path, text: str, key: str, reason: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(WorkloadFileError) as caught:
        load_file(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: {key}: ")
    assert reason in line
    assert line.isprintable()
    assert caught.value.exit_status == 2


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secret").touch()
    (folder / "kept").touch()
    (folder / "a").symlink_to("kept")
    (folder / "b").symlink_to(tmp_path / "secret")
    (folder / "c").symlink_to("c")
    (workload,) = load_file(write(folder, with_line('files = ["a"]')))
    assert workload.files == ("a",)
    for name, reason in (("b", "must lie in"), ("c", "no such file")):
        with pytest.raises(WorkloadFileError, match=rf"workload\.files\[1\]: {reason}"):
            load_file(write(folder, with_line(f'files = ["a", "{name}"]')))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same").touch()
    with pytest.raises(WorkloadFileError, match=r"workload\.files\[1\]: .*'same'"):
        load_file(write(tmp_path, with_line('files = ["a/same", "b/same"]')))


@pytest.mark.parametrize("stem", [".x", "x y", "x+y", "x\ny"])
def test_a_file_name_that_is_no_workload_name_is_refused(tmp_path: Path, stem: str) -> None:
    text = GOOD.replace('"x"', json.dumps(stem))
    with pytest.raises(WorkloadFileError, match="letters, digits") as caught:
        load_file(write(tmp_path, text, f"{stem}.toml"))
    assert str(caught.value).isprintable()


def test_a_program_of_ones_own_is_in_no_package(tmp_path: Path) -> None:
    (workload,) = load_file(write(tmp_path, GOOD.replace('["pkg"]', "[]")))
    assert workload.packages == ()


@pytest.mark.parametrize("status", [0, 255, -9, -64])
def test_every_possible_status_is_accepted(tmp_path: Path, status: int) -> None:
    (workload,) = load_file(write(tmp_path, with_line(f"status = {status}")))
    assert workload.status == status


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ('stop = ["quit"]\nstop_signal = "SIGTERM"', "server.stop"),
        ("", "server.stop"),
        ('stop_signal = "SIGNONE"', "server.stop_signal"),
    ],
)
def test_how_a_server_is_stopped_is_checked(tmp_path: Path, change: str, key: str) -> None:
    text = with_line('kind = "server"')
    text += SERVER.replace('stop = ["quit"]', change)
    with pytest.raises(WorkloadFileError, match=key):
        load_file(write(tmp_path, text))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WorkloadFileError, match="No such file"):
        load_file(tmp_path / "absent.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff")
    with pytest.raises(WorkloadFileError, match="UTF-8"):
        load_file(tmp_path / "x.toml")


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load_folder(tmp_path / "absent")
    with pytest.raises(UsageError, match="no workload file"):
        load_folder(tmp_path)
    write(tmp_path, GOOD.replace('"x"', '"b"'), "b.toml")
    write(tmp_path, GOOD.replace('"x"', '"a"'), "a.toml")
    assert [workload.name for workload in load_folder(tmp_path)] == ["a", "b"]


def test_the_command_line_gives_one_line_and_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, GOOD.replace("seconds = 5", "seconds = []"))
    assert cli.main(["smoke", "--file", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"liballoc smoke: {path}: limits.seconds: must be a number\n"
    assert captured.out == ""


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000 + "]" * 5000])
def test_a_value_too_large_for_the_parser_is_a_syntax_error(tmp_path: Path, value: str) -> None:
    file = tmp_path / "large.toml"
    file.write_text(f"[workload]\nname = {value}\n")
    with pytest.raises(WorkloadFileError) as caught:
        load_file(file)
    assert "syntax" in str(caught.value)
    assert "\n" not in str(caught.value)
