"""tracemalloc releases its books inside the allocator's calls: blocks that were recorded go while another call is under way.

(Seen with regular expressions: the stack of 3.11's matcher is a large block, so that pymalloc hands its release on to the raw domain,
which tracemalloc wraps as well.)
"""

import re
import tracemalloc

WORDS = " ".join("word%d" % number for number in range(4000))


def match():
    return len(re.findall(r"word\d+", WORDS))


match()
tracemalloc.start()
print([match() for _ in range(20)])
tracemalloc.stop()
