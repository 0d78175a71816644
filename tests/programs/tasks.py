"""Asyncio tasks that keep known bytes, for tests of `memlens run --tasks`.

Each `keep(n)` makes a bytes object of n bytes that lives to the end. Only `--tasks` can tell who called it.
"""
import asyncio
import gc
import sys
import threading

kept = []


def keep(size):
    kept.append(bytes(size))


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
    keep(1_000_100)
    asyncio.current_task().set_name("second name")
    keep(1_000_200)


async def unnamed(size):
    keep(size)
    await asyncio.sleep(0)
    keep(size)


async def child(size):
    keep(size)


async def parent():
    keep(1_000_300)
    await asyncio.create_task(child(1_000_301), name="child of parent")
    keep(1_000_300)


class Callback:
    def __call__(self):
        keep(1_000_400)


class Derived(asyncio.Task):
    """A task of a type that derives from asyncio's."""


async def in_executor():
    await asyncio.get_running_loop().run_in_executor(None, keep, 1_000_500)
    keep(1_000_501)


async def generations():
    """Tasks one after another, whose objects get the addresses of those before."""
    for number in range(50):
        await asyncio.create_task(child(20_000 + number), name=f"generation {number}")


def other_thread():
    async def main():
        await asyncio.gather(
            asyncio.create_task(worker(1_000_600), name="of the other thread"),
            asyncio.create_task(worker(1_000_601), name="of the other thread, too"),
        )

    asyncio.run(main())


async def groups():
    async with asyncio.TaskGroup() as group:
        group.create_task(worker(1_000_700), name="in a group")
        group.create_task(worker(1_000_701), name="in a group, too")


async def eager():
    """Tasks that run inside of their creator until they wait for the first time."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    keep(1_000_800)
    first = asyncio.create_task(unnamed(1_000_801), name="eager")
    keep(1_000_800)
    await first
    await asyncio.create_task(child(1_000_802), name="eager to the end")
    keep(1_000_800)
    asyncio.get_running_loop().set_task_factory(None)


async def main():
    loop = asyncio.get_running_loop()
    keep(1_000_001)
    await asyncio.gather(
        asyncio.create_task(worker(1_000_002), name="first"),
        asyncio.create_task(worker(1_000_003), name="zweite Aufgabe – δεύτερη"),
        asyncio.create_task(renamed(), name="first name"),
        asyncio.create_task(parent(), name="parent"),
        unnamed(1_000_004),
    )
    loop.call_soon(Callback())
    await asyncio.create_task(in_executor(), name="waits for a thread")
    await Derived(child(1_000_005), loop=loop, name="derived")
    await generations()
    if sys.version_info >= (3, 11):
        await groups()
    if sys.version_info >= (3, 12):
        await eager()
    keep(1_000_001)


keep(1_000_000)
thread = threading.Thread(target=other_thread)
thread.start()
asyncio.run(main())
thread.join()
gc.collect()
keep(1_000_000)
