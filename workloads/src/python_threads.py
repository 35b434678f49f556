"""Producers allocate, consumers free: blocks cross threads all the time; then short threads."""

import hashlib
import queue
import threading
import zlib

ITEMS = 4000
PAIRS = 3


def produce(seed: int, channel: "queue.Queue[bytes | None]") -> None:
    for index in range(ITEMS):
        channel.put(bytes([(seed * 31 + index) % 256]) * (1 + (index * 37) % 5000))
    channel.put(None)


def consume(channel: "queue.Queue[bytes | None]", results: list[str], place: int) -> None:
    digest = hashlib.sha256()
    while (block := channel.get()) is not None:
        digest.update(zlib.decompress(zlib.compress(block, 1)))
    results[place] = digest.hexdigest()


def short(results: list[int], place: int) -> None:
    results[place] = sum(len(str(number) * 10) for number in range(place % 50))


def main() -> None:
    results = [""] * PAIRS
    threads = []
    for place in range(PAIRS):
        channel: queue.Queue[bytes | None] = queue.Queue(100)
        threads.append(threading.Thread(target=produce, args=(place, channel)))
        threads.append(threading.Thread(target=consume, args=(channel, results, place)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in results:
        print(line)
    sums = [0] * 1000
    for place in range(len(sums)):
        thread = threading.Thread(target=short, args=(sums, place))
        thread.start()
        thread.join()
    print("short threads", sum(sums))


main()
