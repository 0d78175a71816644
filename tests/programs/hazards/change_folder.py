"""Leaves the folder in which it was started; the capture stays where the user asked."""
import os


def after():
    return bytes(2_000_000)


os.chdir("/")
kept = after()
print(os.getcwd())
