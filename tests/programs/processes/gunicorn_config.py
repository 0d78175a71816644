"""What gunicorn_service.py serves."""
import json
import os


def post_worker_init(_worker):
    from worker import work

    os.write(1, json.dumps(work()).encode() + b"\n")


def answer(_environment, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
