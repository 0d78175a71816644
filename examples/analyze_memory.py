"""The classic of memory tutorials: a list of a million numbers, then its sum."""


def build():
    return [x * 2 for x in range(1000000)]


def main():
    numbers = build()
    print(sum(numbers))


if __name__ == "__main__":
    main()
