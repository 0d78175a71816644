"""Ends by SIGTERM, with the default action."""
import os
import signal

kept = bytes(2_000_000)
os.kill(os.getpid(), signal.SIGTERM)
