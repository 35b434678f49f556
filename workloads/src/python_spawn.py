"""multiprocessing by spawn: each child is a new interpreter with the preload inherited."""

import multiprocessing

from gate import pass_gate

CHILDREN = 4


def child(number: int, results: "multiprocessing.SimpleQueue[tuple[int, int]]") -> None:
    words = [f"{number}-{index}" for index in range(40_000)]
    pass_gate()
    results.put((number, len("".join(sorted(words)))))


def main() -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.SimpleQueue[tuple[int, int]] = context.SimpleQueue()
    processes = [context.Process(target=child, args=(n, results)) for n in range(CHILDREN)]
    for process in processes:
        process.start()
    answers = sorted(results.get() for _ in processes)
    for process in processes:
        process.join()
    print(answers, [process.exitcode for process in processes])


if __name__ == "__main__":
    main()
