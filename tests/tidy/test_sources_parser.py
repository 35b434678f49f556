"""The tidy tests' own reading of sources: a parser that sees nothing would find nothing wrong."""

from __future__ import annotations

from pathlib import Path

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
    assert test_source.MACHINE_PATHS.search("see /ro" + "ot/x")
    assert not test_source.MACHINE_PATHS.search("{base}/wo" + "rk/x")


def test_all_files_finds_this_one() -> None:
    assert Path(__file__).resolve() in sources.all_files()
