"""A program with sessions that runs until it is told to stop by a line. What its first argument says is what its main thread does meanwhile."""
import sys
import threading


class Session:
    def __init__(self, number):
        self.rows = [float(number)] * 1000


SESSIONS = {f"u{number}": Session(number) for number in range(100)}
done = threading.Event()


def wait_for_line():
    sys.stdin.readline()
    done.set()


def compute():
    while not done.is_set():
        pass


def main(kind):
    others = {"computes": [wait_for_line], "waits": [], "joins": [compute, wait_for_line]}[kind]
    threads = [threading.Thread(target=other, name=other.__name__) for other in others]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    if kind == "computes":
        compute()
    elif kind == "waits":
        wait_for_line()
    for thread in threads:
        thread.join()
    # What was asked of this thread in vain must not be there any more.
    for _ in range(1000):
        compute()
    print(len(SESSIONS), flush=True)


main(sys.argv[1])
