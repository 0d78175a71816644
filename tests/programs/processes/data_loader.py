"""As a loader of training data works: processes that stay, batches in shared memory, and their names through a queue."""
import json
import multiprocessing
from multiprocessing import shared_memory

from worker import work

BATCH = 1 << 20


def load(indices, batches):
    while indices.get() is not None:
        result = work()
        memory = shared_memory.SharedMemory(create=True, size=BATCH)
        memory.buf[:BATCH] = b"\1" * BATCH
        batches.put((memory.name, result))
        memory.close()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    queues = [context.Queue() for _ in range(2)]
    batches = context.Queue()
    loaders = [context.Process(target=load, args=(queue, batches)) for queue in queues]
    # One tracker of shared memory for all, started before they are.
    shared_memory.SharedMemory(create=True, size=BATCH).unlink()
    for loader in loaders:
        loader.start()
    for index in range(6):
        queues[index % 2].put(index)
    results = []
    for _ in range(6):
        name, result = batches.get()
        memory = shared_memory.SharedMemory(name)
        assert memory.buf[0] == memory.buf[BATCH - 1] == 1
        memory.close()
        memory.unlink()
        results.append(result)
    for queue in queues:
        queue.put(None)
    for loader in loaders:
        loader.join()
    print(json.dumps(results))
