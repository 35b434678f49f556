"""Writes 12 MiB that compress by about half, the same on every machine."""

from pathlib import Path

state = 12345
chunks = []
for _ in range(12 * 64):
    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
    seed = state.to_bytes(8, "little")
    chunks.append((seed * 1024 + bytes(8192)).translate(bytes((i * 167) % 256 for i in range(256))))
Path("data.bin").write_bytes(b"".join(chunks))
