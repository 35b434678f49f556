"""Scripts for tests/fuzz/src/abi.c: made from a seed, cut down when they fail.

A step is five bytes: thread, call, slot, and two that make a size. Uniform bytes hardly ever
come back to the same size class or fill a slab, so a script has a taste: a few sizes, some of
the slots, some of the threads, and phases that mostly allocate, resize or free.
"""

from __future__ import annotations

import random
from collections.abc import Callable

STEP = 5
STEPS_MAX = 600

# The low three bits of the byte `call`, as abi.c reads them.
ALLOCATE, RESIZE, FREE, USE_ALL, ODD = (0, 1, 2), (3,), (4, 5), (6,), (7,)
PHASES = {
    "mixed": (4, 3, 4, 1, 1),
    "grow": (8, 3, 1, 1, 1),
    "resize": (2, 8, 1, 2, 1),
    "shrink": (1, 1, 8, 0, 1),
    "odd": (2, 1, 2, 1, 6),
}


def make(seed: int) -> bytes:
    """The script of a seed."""
    source = random.Random(seed)
    sizes = [source.randbytes(2) for _ in range(source.randint(1, 8))]
    slots = source.choice((1, 4, 16, 64))
    threads = source.choice((1, 2, 4))
    script = bytearray()
    steps = source.randint(1, STEPS_MAX)
    while len(script) < steps * STEP:
        weights = PHASES[source.choice(list(PHASES))]
        for _ in range(source.randint(5, 80)):
            kinds = source.choices((ALLOCATE, RESIZE, FREE, USE_ALL, ODD), weights)[0]
            call = source.choice(kinds) + 8 * source.randrange(32)
            thread = source.randrange(threads) + 4 * source.randrange(64)
            # Mostly the same sizes, sometimes any, and either with another last byte.
            size_a, size_b = source.choice(sizes) if source.random() < 0.8 else source.randbytes(2)
            if source.random() < 0.3:
                size_b = source.randrange(256)
            script += bytes((thread, call, source.randrange(slots), size_a, size_b))
    return bytes(script[: steps * STEP])


def minimise(
    script: bytes, fails: Callable[[bytes], bool], step: int = STEP, tries: int = 600
) -> bytes:
    """A shorter and plainer script that still fails; `fails` is asked at most `tries` times."""
    left = tries

    def still(candidate: bytes) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and fails(candidate)

    script = script[: len(script) // step * step]
    chunk = max(len(script) // step // 2, 1)
    while chunk >= 1 and left > 0:
        start, cut = 0, False
        while start < len(script) // step:
            shorter = script[: start * step] + script[(start + chunk) * step :]
            if still(shorter):
                script, cut = shorter, True
            else:
                start += chunk
        if chunk == 1 and not cut:
            break
        chunk = max(chunk // 2, 1)
    for position in range(len(script)):
        if script[position] != 0:
            plainer = script[:position] + b"\0" + script[position + 1 :]
            if still(plainer):
                script = plainer
    return script
