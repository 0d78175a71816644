"""Programs started by vfork: posix_spawn, and subprocess where nothing forbids it (3.10 and newer). A shell stands in between once."""
import json
import os
import subprocess
import sys

folder = os.path.dirname(os.path.abspath(__file__))
code = f"import sys; sys.path.insert(0, {folder!r}); import json, worker; print(json.dumps(worker.work()), flush=True)"
results = []
reader, writer = os.pipe()
actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
child = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ, file_actions=actions)
os.close(writer)
with os.fdopen(reader) as pipe:
    results.append(json.loads(pipe.read()))
os.waitpid(child, 0)
for command in ([sys.executable, "-c", code], ["/bin/sh", "-c", '"$0" -c "$1"; true', sys.executable, code]):
    results.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, close_fds=False, check=True).stdout))
subprocess.run(["/bin/true"], close_fds=False, check=True)
print(json.dumps(results))
