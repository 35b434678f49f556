"""multiprocessing by fork, from a process that has a second thread and a heap in use."""

import multiprocessing
import threading

from gate import pass_gate

CHILDREN = 4


def work(number: int) -> tuple[int, int]:
    table = {index: str(index) * (index % 30) for index in range(50_000)}
    for index in range(0, 50_000, 2):
        del table[index]
    return number, sum(len(text) for text in table.values())


def child(number: int, results: "multiprocessing.SimpleQueue[tuple[int, int]]") -> None:
    answer = work(number)
    pass_gate()
    results.put(answer)


def churn(stop: threading.Event) -> None:
    while not stop.is_set():
        [bytes(size) for size in range(0, 5000, 50)]


def main() -> None:
    context = multiprocessing.get_context("fork")
    inherited = [bytes(index % 999) for index in range(100_000)]
    stop = threading.Event()
    thread = threading.Thread(target=churn, args=(stop,))
    thread.start()
    results: multiprocessing.SimpleQueue[tuple[int, int]] = context.SimpleQueue()
    processes = [context.Process(target=child, args=(n, results)) for n in range(CHILDREN)]
    for process in processes:
        process.start()
    answers = sorted(results.get() for _ in processes)
    for process in processes:
        process.join()
    stop.set()
    thread.join()
    print(answers, [process.exitcode for process in processes], len(inherited))
    with context.Pool(2) as pool:
        print(pool.map(work, range(3)))


if __name__ == "__main__":
    main()
