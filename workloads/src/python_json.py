"""Builds a document, prints it as JSON, parses it again and compares."""

import hashlib
import json


def make_document(seed: int) -> dict[str, object]:
    rows = []
    state = seed
    for index in range(20000):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        rows.append(
            {
                "id": index,
                "name": f"name-{state % 99991}",
                "tags": [f"t{state % prime}" for prime in (7, 31, 127)],
                "nested": {"value": state / 2**64, "none": None, "flag": bool(state & 1)},
            }
        )
    return {"seed": seed, "rows": rows}


def main() -> None:
    for seed in (1, 2, 3):
        document = make_document(seed)
        text = json.dumps(document, indent=1, sort_keys=True)
        assert json.loads(text) == document
        compact = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(compact.encode()).hexdigest()
        print(seed, len(text), len(compact), digest)


main()
