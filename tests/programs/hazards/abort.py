import os


def kept_to_the_end():
    return [bytes(1000) for _ in range(5000)]


kept = kept_to_the_end()
os.abort()
