"""A pool of processes, by fork and by spawn."""
import multiprocessing


def work(number):
    return len([bytes(1000) for _ in range(number)])


if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, pool.map(work, [100, 200, 300]))
