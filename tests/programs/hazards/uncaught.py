"""Ends by an exception."""


def fail():
    raise ValueError("not caught")


fail()
