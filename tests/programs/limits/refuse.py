"""Has the kernel refuse system calls, as containers do: `refuse.py NAME=ERRNO[,NAME=ERRNO...] COMMAND...` for a command, `refuse()` for oneself.

A filter of seccomp(2): it looks at the number of the call alone, and stays for all that this process starts.
"""

import ctypes
import errno
import os
import struct
import sys

# Of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
NUMBERS = {
    "mremap": 25, "madvise": 28, "sendto": 44, "sendmsg": 46, "recvmsg": 47, "ptrace": 101, "prctl": 157, "accept4": 288, "fallocate": 285,
    "signalfd4": 289, "process_vm_readv": 310, "seccomp": 317, "memfd_create": 319, "userfaultfd": 323, "socket": 41, "connect": 42,
    "pidfd_open": 434, "membarrier": 324, "epoll_create1": 291, "getdents64": 217, "clone3": 435, "prlimit64": 302, "poll": 7, "openat": 257,
}
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ERRNO, ALLOW = 0x00050000, 0x7FFF0000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2


def refuse(errors):
    """From now on each call of `errors` (name to errno's name) fails so."""
    steps = [(LOAD, 0, 0, 0)]
    for name, error in errors.items():
        steps += [(EQUAL, 0, 1, NUMBERS[name]), (RETURN, 0, 0, ERRNO | getattr(errno, error))]
    steps.append((RETURN, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, program, 0, 0)):
        if libc.prctl(*words):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse(dict(word.split("=") for word in sys.argv[1].split(",")))
    os.execvp(sys.argv[2], sys.argv[2:])
