"""Starts other programs, Python and not."""
import subprocess
import sys

print(subprocess.run(["/bin/echo", "from echo"], capture_output=True, text=True, check=True).stdout.strip())
code = "kept = [bytes(1000) for _ in range(1000)]; print('from python')"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
print(subprocess.run([sys.executable, "-E", "-S", "-c", "print('bare')"], capture_output=True, text=True, check=True).stdout.strip())
