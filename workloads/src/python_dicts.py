"""Dicts, sets, lists and byte strings that grow, shrink and die in another order than born."""

import gc


def main() -> None:
    table: dict[object, object] = {}
    for index in range(300_000):
        table[index] = (index, str(index))
        if index % 3 == 0:
            del table[index // 2 if index // 2 in table else index]
    print("table", len(table), sum(key for key in table if isinstance(key, int)))

    objects = [[index] * (index % 40) for index in range(200_000)]
    for start in (7, 3, 0, 5):
        for index in range(start, len(objects), 8):
            objects[index] = []
    print("objects", sum(len(entry) for entry in objects))

    data = bytearray()
    for index in range(200_000):
        data += index.to_bytes(8, "little")
    del data[1000:-1000]
    print("bytes", len(data), sum(data))

    words = {f"word{index % 5000}" for index in range(100_000)}
    joined = " ".join(sorted(words))
    for _ in range(50):
        joined = joined.replace("word1", "w1").replace("w1", "word1")
    print("words", len(words), len(joined))

    ring: list[object] = []
    for _ in range(50_000):
        node: list[object] = []
        node.append(node)
        ring.append(node)
    ring.clear()
    print("cycles collected", gc.collect() >= 0)


main()
