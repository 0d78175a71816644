"""A pool of processes: `pool.py fork|spawn|forkserver`."""
import json
import multiprocessing
import sys

from worker import work

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(json.dumps(pool.map(work, range(4), chunksize=1)))
