"""Saves in the background while writing, and checks that what is loaded again is what was there."""

import socket
from pathlib import Path
from typing import Any

from gate import pass_gate

KEYS = 4000


class Redis:
    """The few parts of the protocol that are needed."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb")

    def __call__(self, *words: object) -> Any:
        parts = [str(word).encode() for word in words]
        packed = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), packed))
        return self._read()

    def _read(self) -> Any:
        line = self._file.readline().rstrip()
        kind, rest = line[:1], line[1:].decode()
        if kind == b"$":
            return self._file.read(int(rest) + 2)[:-2].decode() if rest != "-1" else None
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest)
        return rest

    def info(self, section: str) -> dict[str, str]:
        lines = self("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def child_of(server: int) -> int:
    """The saving child: the only child a server has."""
    for task in Path(f"/proc/{server}/task").iterdir():
        children = (task / "children").read_text().split()
        if children:
            return int(children[0])
    raise RuntimeError("the saving child is gone already")


def main() -> None:
    redis = Redis("redis.sock")
    redis("FLUSHALL")
    for index in range(KEYS):
        redis("SET", f"key:{index}", str(index) * (index % 60 + 1))
    # The child pauses after each key, so that it lives until it has been looked at.
    redis("CONFIG", "SET", "rdb-key-save-delay", "200")
    print(redis("BGSAVE"))
    pass_gate(child_of(int(redis.info("server")["process_id"])))
    writes = 0
    while redis.info("persistence")["rdb_bgsave_in_progress"] == "1":
        for _ in range(50):
            index = writes * 7 % KEYS
            redis("SET", f"key:{index}", str(writes) * (writes % 60 + 1))
            redis("RPUSH", f"list:{writes % 10}", "x" * (writes % 500))
            writes += 1
    print("saved", redis.info("persistence")["rdb_last_bgsave_status"])
    print("written meanwhile", writes > 0, "file", Path("dump.rdb").exists())
    redis("CONFIG", "SET", "rdb-key-save-delay", "0")
    redis("FLUSHALL")
    for index in range(KEYS):
        redis("SET", f"key:{index}", str(index) * (index % 90 + 1))
        redis("HSET", f"hash:{index % 50}", f"field{index}", index)
    before = redis("DEBUG", "DIGEST")
    print(redis("DEBUG", "RELOAD"), redis("DBSIZE"), redis("DEBUG", "DIGEST") == before, before)


main()
