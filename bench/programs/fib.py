"""Recursion that allocates nothing to speak of: what a profiler costs a program when there is nothing to record."""


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


print(fib(34))
