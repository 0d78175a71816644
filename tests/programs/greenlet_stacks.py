"""As stacks.py, with greenlets that leave and come back in the middle of everything, and gevent's on top of them."""

import sys

import gevent
import greenlet
import stacks
from stacks import drop, here, size, state, step


def by_greenlet(depth):
    def first():
        drop(bytes(size()), here())
        other.switch()
        drop(bytes(size()), here())
        step(depth)
        other.switch()
        drop(bytes(size()), here())

    def second():
        def down(levels):
            if levels:
                down(levels - 1)
            drop(bytes(size()), here())
            one.switch()
            drop(bytes(size()), here())

        down(state.random.randrange(6))
        step(depth)

    def third():
        drop(bytes(size()), here())
        back.switch(1)
        drop(bytes(size()), here())

    back = greenlet.getcurrent()
    one = greenlet.greenlet(first)
    other = greenlet.greenlet(second)
    left_alone = greenlet.greenlet(third)
    drop(bytes(size()), here())
    one.switch()
    drop(bytes(size()), here())
    left_alone.switch()
    while not (one.dead and other.dead):
        drop(bytes(size()), here())
        (other if one.dead else one).switch()


def by_generator_in_greenlet(depth):
    def generate():
        drop(bytes(size()), here())
        yield back.switch()
        drop(bytes(size()), here())
        yield step(depth)

    def run():
        for _ in generate():
            drop(bytes(size()), here())
            back.switch()

    back = greenlet.getcurrent()
    running = greenlet.greenlet(run)
    while not running.dead:
        running.switch()
        drop(bytes(size()), here())


def by_thrown_into(depth):
    def run():
        try:
            drop(bytes(size()), here())
            back.switch()
        except KeyError:
            drop(bytes(size()), here())
            step(depth)

    back = greenlet.getcurrent()
    running = greenlet.greenlet(run)
    running.switch()
    running.throw(KeyError("thrown"))
    drop(bytes(size()), here())


def by_gevent(depth):
    def task(number):
        drop(bytes(size()), here())
        gevent.sleep(0)
        drop(bytes(size()), here())
        if number == 1:
            step(depth)
        gevent.sleep(0)
        drop(bytes(size()), here())

    gevent.joinall([gevent.spawn(task, number) for number in range(3)])
    drop(bytes(size()), here())


stacks.WAYS += [value for name, value in sorted(globals().items()) if name.startswith("by_")]

if __name__ == "__main__":
    stacks.main()
