"""gunicorn as its command line starts it, with four workers, each of which says when it is there and answers."""
import json
import os
import socket
import subprocess
import sys
import tempfile

folder = os.path.dirname(os.path.abspath(__file__))
with tempfile.TemporaryDirectory() as scratch:
    path = os.path.join(scratch, "socket")
    command = [sys.executable, "-m", "gunicorn", "--workers", "4", "--bind", f"unix:{path}", "--chdir", folder]
    command += ["--worker-tmp-dir", scratch, "--config", os.path.join(folder, "gunicorn_config.py"), "gunicorn_config:answer"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    results = [json.loads(service.stdout.readline()) for _ in range(4)]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert int(answer.rsplit(b"\r\n", 1)[1]) in [pid for pid, _, _ in results], answer
    service.terminate()
    service.wait()
print(json.dumps(results))
