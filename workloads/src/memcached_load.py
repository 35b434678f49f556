"""Fills memcached many times over from eight threads; whatever it still has must be right."""

import socket
from concurrent.futures import ThreadPoolExecutor

KEYS = 4000


def value(client: int, index: int) -> bytes:
    size = 200_000 + index if index % 400 == 1 else index * 37 % 3000
    return (b"%d.%d." % (client, index) * (size // 4 + 1))[:size]


class Cache:
    """The text protocol over a Unix socket."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect("cache.sock")
        self._file = self._socket.makefile("rb")

    def __call__(self, line: str, data: bytes | None = None) -> bytes:
        tail = b"" if data is None else data + b"\r\n"
        self._socket.sendall(line.encode() + b"\r\n" + tail)
        return self._file.readline().rstrip()

    def get(self, *keys: str) -> dict[str, bytes]:
        self._socket.sendall(f"get {' '.join(keys)}\r\n".encode())
        found = {}
        while (line := self._file.readline().rstrip()) != b"END":
            _, key, _, size = line.decode().split()
            found[key] = self._file.read(int(size) + 2)[:-2]
        return found

    def statistics(self) -> dict[str, int]:
        self._socket.sendall(b"stats\r\n")
        found = {}
        while (line := self._file.readline().rstrip()) != b"END":
            _, key, number = line.decode().split(" ", 2)
            if number.isdigit():
                found[key] = int(number)
        return found


def client(number: int) -> str:
    cache = Cache()
    wrong = hits = 0
    for index in range(KEYS):
        data = value(number, index)
        answer = cache(f"set k{number}.{index} 0 0 {len(data)}", data)
        # Refused while no page belongs to that size, which depends on who came first.
        wrong += answer not in (b"STORED", b"SERVER_ERROR out of memory storing object")
        if index % 5 == 0:
            wanted = [max(0, index - back * 13) for back in range(20)]
            for key, found in cache.get(*(f"k{number}.{back}" for back in wanted)).items():
                hits += 1
                wrong += found != value(number, int(key.split(".")[1]))
        if index % 9 == 0:
            cache(f"delete k{number}.{index // 2}")
        if index % 50 == 0:
            cache(f"append k{number}.{index} 0 0 3", b"end")
            cache(f"delete k{number}.{index}")
    return f"client {number}: wrong {wrong}, hits {hits > 0}"


def main() -> None:
    with ThreadPoolExecutor(8) as pool:
        print("\n".join(pool.map(client, range(8))))
    cache = Cache()
    cache("set number 0 0 1", b"0")
    for _ in range(1000):
        last = cache("incr number 7")
    statistics = cache.statistics()
    print(last.decode(), "evicted", statistics["evictions"] > 1000)
    print(cache("flush_all").decode(), cache("bad command").decode(), cache.get("number"))


main()
