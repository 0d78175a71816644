"""What C libraries return to the program: json, re, struct, itertools, str methods."""

import itertools
import json
import re
import struct

import tracemalloc_check

DOCUMENT = json.dumps([{"id": number, "name": "name %d" % number, "tags": ["a", "b"]} for number in range(800)])
NAMES = ["name-%d" % number for number in range(3_000)]
WORDS = " ".join("word%d" % number for number in range(4_000))
PATTERN = re.compile(r"word\d+")


def work():
    found = PATTERN.findall(WORDS)
    replaced = PATTERN.sub("term", WORDS)
    parts = WORDS.split(" ")
    packed = [struct.pack("<qd", number, number) for number in range(1_000)]
    chunks = list(itertools.repeat("chunk", 5_000))
    upper = [part.upper() for part in parts]
    translated = WORDS.translate({ord("w"): "W" * 3})
    encoded = WORDS.encode("utf-16")
    text = json.dumps(NAMES)
    rows = json.loads(DOCUMENT)
    return rows, text, found, replaced, parts, packed, chunks, upper, translated, encoded


if __name__ == "__main__":
    tracemalloc_check.begin()
    kept = work()
    tracemalloc_check.finish()
