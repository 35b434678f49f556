"""Rows about how the library comes into a process: order, copies, plugins, other mallocs."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native import (
    Native,
    Outcome,
    cases_of,
    clean_environment,
    make_subject,
    skip_missing,
)  # fmt: skip

SOURCES = Path(__file__).resolve().parent / "src"
PARTS = SOURCES / "parts"
ABI_SOURCES = SOURCES.parents[1] / "abi" / "src"
TRAFFIC = SOURCES / "traffic_under.c"
PLUGINS = SOURCES / "plugins_of_their_own.c"
# Each copy is one chance to meet the race.
LATE_COPIES = 60
NOBODY = 65534
MULTIARCH = Path("/usr/lib/x86_64-linux-gnu")
STATIC_PEERS = {
    "jemalloc": (MULTIARCH / "libjemalloc.a", "libjemalloc-dev"),
    "tcmalloc": (MULTIARCH / "libtcmalloc_minimal.a", "libgoogle-perftools-dev"),
}
FAMILY = re.compile(
    r"^(__libc_)?(malloc|calloc|realloc|free|memalign|valloc|pvalloc)$"
    r"|^(reallocarray|aligned_alloc|posix_memalign|malloc_usable_size)$|^_Z(nw|na|dl|da)"
)
BINDING = re.compile(r"binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol `([^']+)'")


def run(
    native: Native, source: Path, name: str, *opened: Path, preload: list[Path], conf: str = ""
) -> Outcome:
    """Runs a case with these objects preloaded, in this order."""
    env = {"LD_PRELOAD": " ".join(map(str, preload))} if preload else {}
    if conf:
        env["ALLOC_CONF"] = conf
    return native.run(native.build(source), name, *opened, env=env)


def check(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome.ending


@pytest.fixture(params=["library", "debug_library"])
def any_library(request: pytest.FixtureRequest) -> Path:
    """The release and the debug library."""
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture
def copies(any_library: Path, tmp_path: Path) -> list[Path]:
    """Copies of the library under other names: each is loaded anew."""
    made = [tmp_path / f"copy{number}.so" for number in range(LATE_COPIES)]
    for path in made:
        shutil.copy(any_library, path)
    return made


@pytest.mark.parametrize(
    ("name", "rounds"),
    [("C04_first_call_of_64_threads", 8), ("C24_fork_during_the_first_call", 1)],
)
def test_race_for_the_first_call(
    native: Native, copies: list[Path], name: str, rounds: int
) -> None:
    for _ in range(rounds):
        check(run(native, SOURCES / "late_copies.c", name, *copies, preload=[]))


@pytest.mark.parametrize("first", ["interposers", "ours"])
def test_C02_interposers_that_allocate(native: Native, any_library: Path, first: str) -> None:
    preload = [native.plugin(PARTS / "interposers.c"), any_library]
    if first == "ours":
        preload.reverse()
    check(run(native, TRAFFIC, "traffic_through_interposers", preload=preload, conf="decay_ms:0"))


def test_C22_wrapper_before_us(native: Native, any_library: Path) -> None:
    preload = [native.plugin(PARTS / "wrapper.c"), any_library]
    check(run(native, TRAFFIC, "traffic_through_a_wrapper", preload=preload))


def test_C22_wrapper_after_us(native: Native, any_library: Path) -> None:
    preload = [any_library, native.plugin(PARTS / "wrapper.c")]
    check(run(native, TRAFFIC, "traffic_before_a_wrapper", preload=preload))


def heaptrack() -> Path:
    found = sorted(Path("/usr/lib").glob("**/libheaptrack_preload.so"))
    if not found:
        skip_missing("heaptrack is not installed: libheaptrack")
    return found[0]


@pytest.mark.parametrize("first", ["heaptrack", "ours"])
def test_C22_heaptrack(native: Native, library: Path, tmp_path: Path, first: str) -> None:
    preload = [heaptrack(), library] if first == "heaptrack" else [library, heaptrack()]
    env = {
        "LD_PRELOAD": " ".join(map(str, preload)),
        "DUMP_HEAPTRACK_OUTPUT": str(tmp_path / "trace"),
    }
    check(native.run(native.build(TRAFFIC), "traffic", env=env))
    if first == "heaptrack":
        assert (tmp_path / "trace").stat().st_size > 10000


def bindings(
    native: Native, program: Path, preload: list[Path], folder: Path
) -> dict[str, set[str]]:
    """Where each name of the family is bound to, by every object of the process."""
    env = {
        "LD_PRELOAD": " ".join(map(str, preload)),
        "LD_DEBUG": "bindings", "LD_BIND_NOW": "1", "LD_DEBUG_OUTPUT": str(folder / "bindings"),
    }  # fmt: skip
    check(native.run(program, "C13_thread_local_destructors", env=env))
    (file,) = folder.glob("bindings.*")
    found: dict[str, set[str]] = {}
    for user, provider, name in BINDING.findall(file.read_text()):
        if FAMILY.match(name) and Path(user).name != "libc_malloc_debug.so.0":
            found.setdefault(name, set()).add(provider)
    return found


def test_C08_one_provider(native: Native, any_library: Path, tmp_path: Path) -> None:
    program = native.build(ABI_SOURCES / "lifetime.cpp")
    found = bindings(native, program, [any_library], tmp_path)
    assert {"malloc", "free", "realloc", "_Znwm", "_ZdlPvm"} <= set(found)
    assert found == {name: {str(any_library)} for name in found}


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("check_level", ["", "3"])
def test_C08_beside_malloc_debug(
    native: Native, library: Path, tmp_path: Path, first: str, check_level: str
) -> None:
    debug = MULTIARCH / "libc_malloc_debug.so.0"
    if not debug.exists():
        skip_missing("this glibc has no libc_malloc_debug.so")
    preload = [library, debug] if first == "ours" else [debug, library]
    program = native.build(ABI_SOURCES / "lifetime.cpp")
    if first == "ours":
        found = bindings(native, program, preload, tmp_path)
        assert found == {name: {str(library)} for name in found}
    env = {"LD_PRELOAD": " ".join(map(str, preload))}
    if check_level:
        env["GLIBC_TUNABLES"] = f"glibc.malloc.check={check_level}"
    for case in cases_of(ABI_SOURCES / "lifetime.cpp"):
        check(native.run(program, case.name, env=env))
    check(native.run(native.build(TRAFFIC), "traffic", env=env))


def test_C10_little_static_tls(native: Native, any_library: Path) -> None:
    # What PyTorch and its like leave of the surplus: less than one more object of 8 words needs.
    fillers = [
        native.plugin(PARTS / "tls_filler.c", [f"-DWORDS={words}", f"-DNUMBER={number}"])
        for words, number in [*((32, n) for n in range(16)), *((8, n) for n in range(8))]
    ]
    check(run(native, PLUGINS, "C10_little_static_tls_left", any_library, *fillers, preload=[]))


def test_C11_with_an_auditor(native: Native, any_library: Path) -> None:
    env = {"LD_AUDIT": str(native.plugin(PARTS / "audit.c")), "LD_PRELOAD": str(any_library)}
    outcome = native.run(native.build(TRAFFIC), "traffic", env=env)
    check(outcome)
    assert outcome.stderr == "audited\n"


@pytest.fixture
def embedding(native: Native, static_library: Path) -> Path:
    """A plugin with liballoc.a inside, of which it shows nothing."""
    flags = [str(static_library), "-Wl,--exclude-libs,ALL", "-Wl,-Bsymbolic"]
    return native.plugin(PARTS / "embeds.c", link=flags)


@pytest.mark.parametrize("subject", ["glibc", "release", "debug"])
def test_C12_threads_outlive_an_embedding_plugin(
    native: Native, embedding: Path, subject: str, request: pytest.FixtureRequest
) -> None:
    chosen = make_subject(subject, request)
    program = native.build(PLUGINS, chosen)
    check(native.run(program, "C12_threads_outlive_the_plugin", embedding, subject=chosen))


@pytest.mark.parametrize("subject", ["glibc", "release", "debug"])
def test_C16_plugin_with_its_own_copy(
    native: Native, embedding: Path, subject: str, request: pytest.FixtureRequest
) -> None:
    chosen = make_subject(subject, request)
    program = native.build(PLUGINS, chosen)
    check(native.run(program, "C16_plugin_with_its_own_copy", embedding, subject=chosen))


@pytest.mark.parametrize("peer", STATIC_PEERS)
@pytest.mark.parametrize("program", ["libc_results.c", "lifetime.cpp"])
def test_C16_beside_a_static_peer(native: Native, library: Path, peer: str, program: str) -> None:
    # The executable's malloc wins; operators and names that the peer lacks are ours.
    archive, package = STATIC_PEERS[peer]
    if not archive.is_file():
        skip_missing(f"{archive.name} is missing: {package}")
    built = native.build(ABI_SOURCES / program, link=["-rdynamic", str(archive), "-lstdc++", "-lm"])
    for case in cases_of(ABI_SOURCES / program):
        if case.everywhere:
            check(native.run(built, case.name, env={"LD_PRELOAD": str(library)}))


def test_C18_opened_with_deepbind(native: Native, any_library: Path) -> None:
    check(run(native, PLUGINS, "C18_opened_with_deepbind", any_library, preload=[]))


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_C13_after_our_own_destructor(
    native: Native, any_library: Path, tmp_path: Path, first: str
) -> None:
    # Preloaded objects end in the order of their names: one of the two is behind us.
    late, stats = native.plugin(PARTS / "late.c"), tmp_path / "stats"
    preload = [any_library, late] if first == "ours" else [late, any_library]
    conf = f"stats_at_exit:{stats}"
    outcome = run(native, TRAFFIC, "traffic_at_exit", preload=preload, conf=conf)
    check(outcome)
    assert outcome.stdout == "late\n"
    assert len(stats.read_text().splitlines()) == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="liballoc-secure-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_C15_preload_of_a_set_uid_program(native: Native, library: Path, open_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a program set-uid to another user")
    if os.statvfs(open_folder).f_flag & os.ST_NOSUID:
        pytest.skip("the temporary folder is mounted nosuid")
    copy = open_folder / "liballoc.so"
    shutil.copy(library, copy)
    copy.chmod(0o755)
    program = open_folder / "program"
    shutil.copy("/bin/cat", program)

    def maps(mode: int) -> str:
        os.chown(program, NOBODY, NOBODY)
        program.chmod(mode)
        done = subprocess.run(
            [program, "/proc/self/maps"], capture_output=True, text=True, check=True,
            env={**clean_environment(), "LD_PRELOAD": str(copy)},
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout

    assert str(copy) in maps(0o755)
    assert str(copy) not in maps(0o4755)


def test_C19_malloc_perturb_is_harmless(native: Native, library: Path) -> None:
    env = {
        "LD_PRELOAD": str(library), "MALLOC_PERTURB_": "165", "MALLOC_CHECK_": "3",
        "MALLOC_ARENA_MAX": "1",
    }  # fmt: skip
    outcome = native.run(native.build(TRAFFIC), "traffic", env=env)
    assert (outcome.status, outcome.stderr) == (0, ""), outcome.ending


def test_C20_children_of_32_bits(native: Native, library: Path, tmp_path: Path) -> None:
    loader = Path("/lib/ld-linux.so.2")
    if not loader.exists():
        skip_missing("no 32-bit loader: libc6-i386")
    source, program = tmp_path / "small.s", tmp_path / "small"
    source.write_text(
        ".globl _start\n_start: movl $4, %eax\nmovl $1, %ebx\nmovl $text, %ecx\nmovl $3, %edx\n"
        'int $0x80\nmovl $1, %eax\nmovl $7, %ebx\nint $0x80\n.data\ntext: .ascii "32\\n"\n'
    )
    # Dynamic, so that its loader meets the preload; without a libc, which need not be installed.
    flags = ["-m32", "-nostdlib", "-no-pie", f"-Wl,--dynamic-linker={loader}", "-Wl,--no-as-needed"]
    nothing = tmp_path / "libnothing.so"
    empty = tmp_path / "empty.s"
    empty.write_text(".globl nothing\nnothing: ret\n")
    commands: tuple[list[str | Path], ...] = (
        ["gcc", "-m32", "-nostdlib", "-shared", empty, "-o", nothing],
        ["gcc", *flags, source, nothing, f"-Wl,-rpath,{tmp_path}", "-o", program],
    )
    for argv in commands:
        subprocess.run(argv, check=True, capture_output=True)
    outcome = native.run("/bin/sh", "-c", f"{program}; echo $?", env={"LD_PRELOAD": str(library)})
    if "Exec format error" in outcome.stderr:
        pytest.skip("this kernel runs no 32-bit programs")
    assert outcome.stdout == "32\n7\n", outcome.ending
    assert "wrong ELF class" in outcome.stderr
