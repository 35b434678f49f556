"""An HTTPS server with a thread a connection; prints its port, ends when /stop is asked for."""

import gzip
import http.server
import ssl
import threading
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "test"
    sys_version = ""

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/data.bin":
            body = Path("data.bin").read_bytes()
            wanted = self.headers.get("Range")
            if wanted:
                first, last = (int(n) for n in wanted.removeprefix("bytes=").split("-"))
                self.answer(body[first : last + 1], 206)
            else:
                self.answer(body)
        elif self.path.startswith("/text/"):
            number = int(self.path.removeprefix("/text/"))
            text = "".join(f"line {n} of text {number}\n" for n in range(number * 40)).encode()
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                self.answer(gzip.compress(text, mtime=0), Content_Encoding="gzip")
            else:
                self.answer(text)
        elif self.path == "/stop":
            self.answer(b"stopping\n")
            threading.Thread(target=self.server.shutdown).start()
        else:
            self.answer(b"nothing here\n", 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # The boundary of a form is random, but always of one length.
        self.answer(f"{len(body)} bytes of {body.count(b'x') > 0}\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        return


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("crt.pem", "key.pem")
    # The handshake belongs into the connection's thread, not into the loop that accepts.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    print(server.server_port, flush=True)
    server.serve_forever()
    server.server_close()


main()
