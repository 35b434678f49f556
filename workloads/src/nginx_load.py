"""Asks nginx for files in many ways from eight threads; prints digests of what came back."""

import gzip
import hashlib
import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REQUESTS = 300
DATA = Path("data.bin").read_bytes()[:3_000_000]


class Connection(http.client.HTTPConnection):
    """HTTP over the Unix socket of the server."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect("front.sock")


def ask(connection: Connection, path: str, method: str = "GET", body: bytes = b"", **more: str):
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def client(number: int) -> str:
    digest = hashlib.sha256()
    connection = Connection("x")
    for index in range(REQUESTS):
        prefix = ("", "/passed", "/rewritten")[index % 3]
        if index % 50 == 7:
            status, body = ask(connection, f"{prefix}/part.bin", Accept_Encoding="gzip")
            body = (
                gzip.decompress(body) if prefix != "/rewritten" or body[:2] == b"\x1f\x8b" else body
            )
            assert body == DATA, (status, len(body))
        elif index % 10 == 3:
            first = index * 1000
            wanted = f"bytes={first}-{first + 99_999}"
            status, body = ask(connection, f"{prefix}/part.bin", Range=wanted)
        elif index % 10 == 5:
            status, body = ask(connection, "/passed/post", "POST", b"x" * index * 200)
        elif index % 10 == 8:
            status, body = ask(connection, f"{prefix}/absent?{'a' * index * 10}", X_Many="b" * 900)
        else:
            status, body = ask(connection, f"{prefix}/text-{index % 20}.txt")
        digest.update(b"%d %d " % (status, len(body)) + body)
    connection.close()
    # What is no request, and one whose line is too long.
    for raw in (b"NONSENSE\r\n\r\n", b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bad:
            bad.connect("front.sock")
            bad.sendall(raw)
            digest.update(bad.recv(12))
    return f"client {number}: {digest.hexdigest()}"


def main() -> None:
    Path("part.bin").write_bytes(DATA)
    for number in range(20):
        lines = (f"line {line} of file {number}\n" for line in range(number * 100))
        Path(f"text-{number}.txt").write_text("".join(lines))
    with ThreadPoolExecutor(8) as pool:
        print("\n".join(pool.map(client, range(8))))
    served = Path("access.log").read_text().count("\n")
    print("front and back served", served >= 8 * (REQUESTS + 2))


main()
