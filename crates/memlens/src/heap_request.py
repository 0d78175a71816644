# Runs in a program that `memlens heap PID` asks, in a thread that came to a safe point. FOLDER is where it asks from, MODULE names the extension.
# It loads memlens's extension and has it fork a child, which writes the snapshot; the program goes on at once.
import os
import sys


def snapshot():
    try:
        os.close(os.open(FOLDER + "/taken", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        return  # Another thread was first, or nobody waits any more.
    try:
        ask()
    except BaseException as failure:
        # Whatever it was: nothing of it may reach the program.
        with open(FOLDER + "/part", "w") as file:
            file.write(f"{type(failure).__name__}: {failure}")
        os.rename(FOLDER + "/part", FOLDER + "/error")


def ask():
    import _imp

    # A copy of our own, by a name of its own: the program may have another memlens. It cannot be unloaded; the next request finds it.
    native = sys.modules.get(MODULE)
    if native is None:
        native = _imp.create_dynamic(type(sys.implementation)(name="_native", origin=FOLDER + "/_native.abi3.so"))
        _imp.exec_dynamic(native)
        sys.modules[MODULE] = native
    threading = sys.modules.get("threading")
    names = {thread.ident: thread.name for thread in threading.enumerate() if thread.ident} if threading else {}
    version = "%d.%d.%d" % sys.version_info[:3]
    native.take_into(FOLDER, (names, FOLDER, version, list(sys.orig_argv)))


snapshot()
