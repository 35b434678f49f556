"""Prints the version of the server, or nothing when it does not answer yet."""

import contextlib
import socket

with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server, contextlib.suppress(OSError):
    server.connect("cache.sock")
    server.sendall(b"version\r\n")
    print(server.recv(100).decode())
