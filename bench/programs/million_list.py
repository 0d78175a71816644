"""A list of a million numbers, built and dropped, several times."""


def build():
    return [number * 2 for number in range(1_000_000)]


def main():
    for _ in range(15):
        numbers = build()
        del numbers
    print("done")


main()
