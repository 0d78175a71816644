"""Object churn at depth 12: a function nested twelve calls deep that makes small objects in a hot loop."""


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y


class Record:
    def __init__(self, name, value):
        self.name = name
        self.value = value


def churn(count):
    kept = []
    for number in range(count):
        point = Point(number * 1.5, number + 1000)
        pair = (number, point)
        text = "item-%d" % number
        record = Record(text, pair)
        kept.append([record, point.x + 0.5, {"number": number}])
        if len(kept) > 500:
            kept.clear()
    return len(kept)


def descend(depth, count):
    if depth > 1:
        return descend(depth - 1, count)
    return churn(count)


print(descend(11, 1_000_000))
