"""concurrent.futures, whose processes are asked for one by one."""
import concurrent.futures
import json

from worker import work

if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        print(json.dumps([future.result() for future in [executor.submit(work) for _ in range(4)]]))
