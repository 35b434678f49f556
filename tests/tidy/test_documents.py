"""Documents that promise something a machine can check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from liballoc import __version__
from liballoc.workload import schema
from tests.tidy import sources

VERSION_HEADING = re.compile(r"^## (Unreleased|\d+\.\d+\.\d+)\b")
# A pipe into a reader that may end before it has read everything.
EARLY_END = re.compile(r"\|\s*(?:grep\s+-\w*[qm]|head\b|sed\s+\S*q\b)")


def readme_commands(text: str) -> list[str]:
    """The lines of the code blocks under 'Two commands'."""
    section = re.search(r"^#+ Two commands$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, "README.md has no heading 'Two commands'"
    blocks = re.findall(r"^```\w*\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def option_fields(text: str) -> list[dict[str, str]]:
    """The rows of the table in zig/abi/options.zig."""
    rows = re.findall(r"^    \.\{\n(.*?)^    \},$", text, re.MULTILINE | re.DOTALL)
    return [dict(re.findall(r'\.(\w+) = "(.*?)",$', row, re.MULTILINE)) for row in rows]


def documented_options(text: str) -> list[dict[str, str]]:
    """The rows of README's table of options."""
    section = re.search(
        r"^\| option in `ALLOC_CONF` .*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE
    )
    assert section, "README.md has no table of options"
    keys = ("name", "type", "default", "doc")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in section[1].splitlines()]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def option_differences(source: str, document: str) -> list[str]:
    """Where README and the library do not say the same of an option."""
    written = {row["name"].strip("`"): row for row in documented_options(document)}
    fields = option_fields(source)
    names = [row["name"] for row in fields]
    found = [] if list(written) == names else [f"options: {names}, README: {list(written)}"]
    for row in fields:
        shown = written.get(row["name"])
        if shown is None:
            continue
        keys = ["default", "doc"]
        # Words to choose from are the same; a number's range is told in full by the warning alone.
        words = re.split(r", | or ", row["type"])
        if all(word.isalpha() for word in words):
            keys.append("type")
        expected = row | {"type": ", ".join(words)}
        found += [
            f"{row['name']}: {key}: {expected[key]!r}, README: {shown[key]!r}"
            for key in keys
            if shown[key] != expected[key]
        ]
    return found


def changelog_faults(text: str) -> list[str]:
    """What is wrong with the shape of a changelog."""
    faults = []
    if not text.startswith("# Changelog\n"):
        faults.append("must begin with '# Changelog'")
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    if not sections:
        faults.append("has no version")
    versions = []
    for section in sections:
        heading = section.splitlines()[0]
        match = VERSION_HEADING.match(heading)
        if match is None:
            faults.append(f"no version in {heading!r}")
            continue
        versions.append(match[1])
        if not re.search(r"^- ", section, re.MULTILINE):
            faults.append(f"{match[1]} has no entry")
    numbered = [tuple(map(int, v.split("."))) for v in versions if v != "Unreleased"]
    if numbered != sorted(numbered, reverse=True) or "Unreleased" in versions[1:]:
        faults.append("must have the newest version first")
    return faults


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    commands = readme_commands((sources.ROOT / "README.md").read_text())
    assert commands == ["./dev preload-smoke", "./dev tests"]
    lines = [line.strip() for line in (sources.ROOT / ".ci" / "run").read_text().splitlines()]
    for command in commands:
        assert command in lines
    # pytest's closing line is to be the last of a test runner.
    assert lines[-1] == "./dev tests"


def test_ci_runs_the_checking_sessions() -> None:
    lines = [line.strip() for line in (sources.ROOT / ".ci" / "run").read_text().splitlines()]
    assert {"./dev lint", "./dev elf", "export LIBALLOC_NO_SKIP=1"} <= set(lines)


def test_no_pipe_of_ci_ends_before_its_writer() -> None:
    # With pipefail a reader that stops at its first match ends the run by SIGPIPE, now and then.
    script = (sources.ROOT / ".ci" / "run").read_text()
    assert "pipefail" in script
    assert EARLY_END.search("cat file | grep -q word")
    for line in script.splitlines():
        assert line.lstrip().startswith("#") or not EARLY_END.search(line), line


def test_readme_has_the_options_of_the_library() -> None:
    source = (sources.ROOT / "zig" / "abi" / "options.zig").read_text()
    assert len(option_fields(source)) == source.count(".apply = ") > 0
    assert not option_differences(source, (sources.ROOT / "README.md").read_text())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("`decay_ms` | number | 100 |", "`decay_ms` | number | 50 |"),
        ("| `thp` |", "| `huge` |"),
        ("forward, abort, ignore", "forward, abort"),
        ("age in ms", "age"),
    ],
)
def test_a_readme_that_says_otherwise_is_seen(old: str, new: str) -> None:
    source = (sources.ROOT / "zig" / "abi" / "options.zig").read_text()
    document = (sources.ROOT / "README.md").read_text()
    assert old in document
    assert option_differences(source, document.replace(old, new))


def test_all_packages_have_the_version_of_the_manifest() -> None:
    crate = (sources.ROOT / "zig" / "rust" / "Cargo.toml").read_text()
    assert re.findall(r'^version = "(.*)"$', crate, re.M) == [sources.manifest_version()]
    assert __version__ == sources.manifest_version()


def test_changelog_has_its_shape() -> None:
    assert not changelog_faults((sources.ROOT / "CHANGELOG.md").read_text())


def test_changelog_faults_are_seen() -> None:
    good = "# Changelog\n\n## 0.2.0\n\n- b\n\n## 0.1.0\n\n- a\n"
    assert not changelog_faults(good)
    assert changelog_faults("Changes\n")
    assert changelog_faults(good.replace("0.2.0", "0.0.1"))
    assert changelog_faults(good.replace("- a", "a"))


def test_workload_readme_has_every_key_once() -> None:
    text = (sources.ROOT / "workloads" / "README.md").read_text()
    for table, keys in schema.TABLES.items():
        section = re.search(rf"^## `\[+{table}\]+`$(.*?)(?=^## |\Z)", text, re.M | re.S)
        assert section, f"workloads/README.md has no section for [{table}]"
        documented = re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)
        assert documented == [key.name for key in keys]


def test_packages_of_workloads_are_installed_by_ci() -> None:
    script = (sources.ROOT / ".ci" / "run").read_text()
    for file in sorted((sources.ROOT / "workloads").glob("*.toml")):
        for package in re.findall(r'"([^"]+)"', packages_line(file)):
            # python3 runs the script itself.
            assert package == "python3" or re.search(rf"\b{re.escape(package)}(?![\w-])", script), (
                f"{file.name}: {package}"
            )


def packages_line(file: Path) -> str:
    """The line of a workload that names its packages."""
    return next(line for line in file.read_text().splitlines() if line.startswith("packages"))
