"""Makes a known number of blocks and ends with a status of its own; prints how many, and the limits of these names if any are given."""

import os
import resource
import sys

from known_blocks import hold

kept = hold()
print(len(kept), *(resource.getrlimit(getattr(resource, name))[0] for name in sys.argv[1:]), flush=True)
# Without any clean-up: what is live now stays.
os._exit(3)
