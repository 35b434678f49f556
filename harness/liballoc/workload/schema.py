"""What a workload file may say: one dataclass a table, one row a key.

The rows are the single description of the format: the loader checks files by them, and a test
compares them with workloads/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Key:
    """A key of a table: its type by name (kinds.py), and whether a file must have it."""

    name: str
    kind: str
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    may_be_empty: bool = False


@dataclass(frozen=True)
class Substitution:
    """Replaces what differs from run to run (a pid, a time) before outputs are compared."""

    pattern: str
    replace: str
    stream: str = "both"


@dataclass(frozen=True)
class Server:
    """How a server is found ready, put under load, and stopped."""

    ready: tuple[str, ...]
    ready_output: str
    load: tuple[tuple[str, ...], ...]
    stop: tuple[str, ...] = ()
    stop_signal: str = ""


@dataclass(frozen=True)
class Workload:
    """One program, how it is run and what proves that the library was active in it."""

    name: str
    why: str
    argv: tuple[str, ...]
    seconds: float
    packages: tuple[str, ...]
    processes: tuple[str, ...]
    kind: str = "command"
    proof: str = "stats"
    process_count: int = 0
    programs: tuple[str, ...] = ()
    setup: tuple[tuple[str, ...], ...] = ()
    files: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    stdin: str = ""
    status: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    substitutions: tuple[Substitution, ...] = ()
    server: Server | None = None
    source: str = ""
    requirements: tuple[str, ...] = ()
    long: bool = False
    quick: bool = False

    def commands(self) -> list[tuple[str, ...]]:
        """Every command that a run starts."""
        found = [*self.setup, self.argv]
        if self.server is not None:
            found += [self.server.ready, *self.server.load]
            if self.server.stop:
                found.append(self.server.stop)
        return found


WORKLOAD_KEYS = (
    Key("name", "name", required=True),
    Key("why", "string", required=True),
    Key("kind", "string", choices=("command", "server")),
    Key("argv", "command", required=True),
    Key("packages", "strings", required=True, may_be_empty=True),
    Key("requirements", "requirements"),
    Key("long", "boolean"),
    Key("quick", "boolean"),
    Key("programs", "strings"),
    Key("setup", "commands"),
    Key("files", "strings"),
    Key("outputs", "strings"),
    Key("stdin", "string"),
    Key("environment", "variables"),
    Key("status", "status"),
    Key("proof", "string", choices=("stats", "maps")),
    Key("processes", "strings", required=True),
    # The most processes that Linux can have.
    Key("process_count", "integer", minimum=1, maximum=1 << 22),
)
LIMITS_KEYS = (Key("seconds", "number", required=True, minimum=0.001, maximum=86_400),)
SERVER_KEYS = (
    Key("ready", "command", required=True),
    Key("ready_output", "string", required=True),
    Key("load", "commands", required=True),
    Key("stop", "command"),
    Key("stop_signal", "string"),
)
NORMALISE_KEYS = (
    Key("pattern", "string", required=True),
    Key("replace", "string", required=True, may_be_empty=True),
    Key("stream", "string", choices=("stdout", "stderr", "both")),
)
VARIANT_KEYS = (
    Key("name", "name", required=True),
    Key("why", "string"),
    Key("environment", "variables", required=True),
    Key("long", "boolean"),
)

TABLES: Mapping[str, tuple[Key, ...]] = {
    "workload": WORKLOAD_KEYS,
    "limits": LIMITS_KEYS,
    "server": SERVER_KEYS,
    "normalise": NORMALISE_KEYS,
    "variants": VARIANT_KEYS,
}
REQUIRED_TABLES = ("workload", "limits")
REPEATED_TABLES = ("normalise", "variants")
