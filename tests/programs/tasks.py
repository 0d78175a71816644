"""Asyncio tasks that keep known bytes, for tests of `memlens run --tasks`.

Prints a JSON object: in which line blocks are made, and by the name of the task that asyncio itself says is running ("" for none; the coroutine's
name for a task that nobody has named): how many blocks and how many bytes were asked for.
"""
import asyncio
import json
import re
import sys
import threading

kept = []
expected = {}


def keep(size):
    block = b"-" * size
    kept.append(block)
    counted = expected.setdefault(running_name(), [0, 0])
    counted[0] += 1
    counted[1] += sys.getsizeof(block)


def running_name():
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return ""
    if task is None:
        return ""
    name = task.get_name()
    return task.get_coro().__qualname__ if re.fullmatch("Task-[0-9]+", name) else name


async def nested(size):
    await asyncio.sleep(0)
    keep(size)
    await asyncio.sleep(0)
    keep(size)


async def worker(size):
    for _ in range(10):
        keep(size)
        await nested(size)


async def renamed():
    keep(10_100)
    asyncio.current_task().set_name("second name")
    keep(10_200)


async def unnamed(size):
    keep(size)
    await asyncio.sleep(0)
    keep(size)


async def child(size):
    keep(size)


async def parent():
    keep(10_300)
    await asyncio.create_task(child(10_301), name="child of parent")
    keep(10_300)


class Callback:
    def __call__(self):
        keep(10_400)


class Derived(asyncio.Task):
    """A task of a type that derives from asyncio's."""


async def in_executor():
    await asyncio.get_running_loop().run_in_executor(None, keep, 10_500)
    keep(10_501)


async def generations():
    """Tasks one after another, whose objects get the addresses of those before."""
    for number in range(50):
        await asyncio.create_task(child(10_900 + number), name=f"generation {number}")


def keeper():
    while True:
        keep((yield))


async def sends(generator, size):
    """The same activation of a generator runs in several tasks by turns."""
    for _ in range(10):
        generator.send(size)
        await asyncio.sleep(0)


async def produce(size):
    for _ in range(5):
        await asyncio.sleep(0)
        keep(size)
        yield size


async def consume(size):
    async for _ in produce(size):
        keep(size + 1)


async def generators():
    generator = keeper()
    next(generator)
    await asyncio.gather(
        *(asyncio.create_task(sends(generator, 11_000 + number), name=f"sender {number}") for number in range(3)),
        *(asyncio.create_task(consume(11_100 + 10 * number), name=f"consumer {number}") for number in range(3)),
    )


def recurse(depth, size):
    return keep(size) if depth == 0 else recurse(depth - 1, size)


async def deep(size):
    for depth in range(60):
        recurse(depth, size)
        await asyncio.sleep(0)


def other_thread():
    async def main():
        await asyncio.gather(
            asyncio.create_task(worker(10_600), name="of the other thread"),
            asyncio.create_task(worker(10_601), name="of the other thread, too"),
        )

    asyncio.run(main())


async def groups():
    async with asyncio.TaskGroup() as group:
        group.create_task(worker(10_700), name="in a group")
        group.create_task(worker(10_701), name="in a group, too")


async def eager():
    """Tasks that run inside of their creator until they wait for the first time."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    keep(10_800)
    first = asyncio.create_task(unnamed(10_801), name="eager")
    keep(10_800)
    await first
    await asyncio.create_task(child(10_802), name="eager to the end")
    keep(10_800)
    asyncio.get_running_loop().set_task_factory(None)


async def main():
    loop = asyncio.get_running_loop()
    keep(10_001)
    await asyncio.gather(
        asyncio.create_task(worker(10_002), name="first"),
        asyncio.create_task(worker(10_003), name="zweite Aufgabe – δεύτερη"),
        asyncio.create_task(renamed(), name="first name"),
        asyncio.create_task(parent(), name="parent"),
        unnamed(10_004),
    )
    loop.call_soon(Callback())
    await asyncio.create_task(in_executor(), name="waits for a thread")
    await Derived(child(10_005), loop=loop, name="derived")
    await generations()
    await generators()
    await asyncio.gather(*(asyncio.create_task(deep(11_200 + number), name=f"deep {number}") for number in range(2)))
    if sys.version_info >= (3, 11):
        await groups()
    if sys.version_info >= (3, 12):
        await eager()
    keep(10_001)


keep(10_000)
thread = threading.Thread(target=other_thread)
thread.start()
asyncio.run(main())
thread.join()
keep(10_000)
print(json.dumps({"line": keep.__code__.co_firstlineno + 1, "tasks": expected}))
