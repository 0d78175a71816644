"""The cyclic collector runs in the middle of allocations and calls finalizers that allocate."""
import gc


class Node:
    def __init__(self):
        self.me = self

    def __del__(self):
        freed.append(len([str(number) for number in range(5)]))


freed = []
gc.set_threshold(50)
for _ in range(20_000):
    Node()
gc.collect()
print(len(freed))
