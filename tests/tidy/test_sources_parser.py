"""The tidy tests' own reading of sources: a parser that sees nothing would find nothing wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tidy import sources, test_source

ZIG = """//! Example.
pub fn short(a: u8) u8 {
    return a;
}

const Thing = struct {
    fn method(
        thing: *Thing,
        number: usize,
    ) void {
        if (number > 0) {
            thing.go();
        }
    }
};

fn Generic(comptime T: type) type {
    return T;
}

extern fn outside() void;

test "prints" {
    std.debug.print("fine here", .{});
}

const after = std.log;
"""


def test_zig_functions_have_their_lines() -> None:
    found = {entry.name: entry.length for entry in sources.zig_functions(ZIG)}
    assert found == {"short": 3, "method": 8}


def test_a_long_zig_function_is_seen() -> None:
    body = "    x += 1;\n" * 80
    (function,) = sources.zig_functions(f"fn long() void {{\n{body}}}\n")
    assert function.length == 82 > test_source.FUNCTION_LINES_MAX


def test_python_functions_have_their_lines() -> None:
    text = "def a():\n    pass\n\nclass B:\n    async def c(self):\n        return 1\n"
    assert {f.name: f.length for f in sources.python_functions(text)} == {"a": 2, "c": 2}


def test_test_blocks_and_comments_are_left_out() -> None:
    kept = "\n".join(line for _, line in sources.zig_without_tests(ZIG + "// std.log\n"))
    assert "std.debug.print" not in kept
    assert kept.count("std.log") == 1


def test_markers_and_paths_are_recognised() -> None:
    assert test_source.MARKERS.search("// TO" + "DO: later")
    assert not test_source.MARKERS.search("mkstemp XX" + "XX")


@pytest.mark.parametrize(
    "text",
    ["see /ro" + "ot/x", "'/wo" + "rk'", "in /wo" + "rk.", "/ho" + "me/ann/x", "=/Us" + "ers/ann",
     "/tm" + "p/build-1/lib.so", "/var/tm" + "p/a/b", "cd /workspa" + "ce;"],
)  # fmt: skip
def test_paths_of_a_machine_are_recognised(text: str) -> None:
    assert test_source.MACHINE_PATHS.search(text)


@pytest.mark.parametrize(
    "text",
    ["{base}/wo" + "rk/x", "$HOME/wo" + "rk", "zig/root.zig", '"/root.zig"', "/tmp/stats",
     "stats_at_exit:/tmp/stats LD_PRELOAD=x", "/home", "/tmp/cache-{user}/zig", "~/wo" + "rk/x",
     "/works", "a/tmp/b/c"],
)  # fmt: skip
def test_other_paths_are_left_alone(text: str) -> None:
    assert not test_source.MACHINE_PATHS.search(text)


@pytest.mark.parametrize(
    "line",
    ["_ = std.os.linux.close(3);", "const linux = std.os.linux;", "os.linux.map(1);",
     "std.posix.abort();", 'asm volatile ("syscall");'],
)  # fmt: skip
def test_a_system_call_outside_os_is_seen(line: str) -> None:
    text = f"//! x\nfn f() void {{\n    {line}\n}}\n"
    assert test_source.system_calls("heap", text) == [3]
    assert test_source.system_calls("os", text) == []
    assert test_source.system_calls("heap", f"test {{\n    {line}\n}}\n") == []


def test_constants_of_the_system_are_no_calls() -> None:
    text = "const e = std.os.linux.E.INVAL;\nos.machine.init();\n"
    assert test_source.system_calls("abi", text) == []


def test_all_files_finds_this_one() -> None:
    assert Path(__file__).resolve() in sources.all_files()
