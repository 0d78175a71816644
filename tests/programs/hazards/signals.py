"""A signal handler that allocates, thousands of times, in the middle of allocations."""
import signal


def handler(_number, _frame):
    count[0] += 1
    kept.append(bytes(count[0] % 100 + 600))


count, kept = [0], []
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while count[0] < 500:
    [str(number) for number in range(50)]
signal.setitimer(signal.ITIMER_REAL, 0)
print(count[0] >= 500)
