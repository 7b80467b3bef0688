"""Servers of our own for a while: Stenopool, and the scripted language model. And a way to say what holds of them."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
# STENOPOOL_BIN names another one.
BINARY = pathlib.Path(os.environ.get("STENOPOOL_BIN", ROOT / "target" / "release" / "stenopool"))
PATIENCE_SECONDS = 30.0


def check(claim, holds, detail=""):
    print(f"  {'ok  ' if holds else 'FAIL'} {claim}{': ' if detail else ''}{detail}", flush=True)
    check.failed |= not holds


check.failed = False


class Address(str):
    """Where a server is, as HOST:PORT."""

    pid = None


@contextlib.contextmanager
def server(binary, *flags, log="warn"):
    """A server on a free port, ready to take work; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [binary, "--log", log, "serve", "--bind", address, "--model", "demo", *flags]
    with ended(subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, cwd=ROOT)) as process:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_ready(address):
            assert process.poll() is None and time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
        address = Address(address)
        address.pid = process.pid
        yield address


@contextlib.contextmanager
def scripted_llm(*flags):
    """A scripted language model; its address, without the /v1."""
    command = [sys.executable, ROOT / "scripts" / "scripted_llm.py", *map(str, flags)]
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        yield process.stdout.readline().strip().removeprefix("http://").removesuffix("/v1")


@contextlib.contextmanager
def ended(process):
    """Ends a process when nobody needs it any more."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
        return answer.read().decode()


def post(address, path, body):
    """What is answered to a JSON document: bytes."""
    request = urllib.request.Request(f"http://{address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return answer.read()


def pool(address):
    return json.loads(get(address, "/pool"))


def stats(llm):
    """What a scripted language model tells of its requests."""
    return json.loads(get(llm, "/stats"))


def metric(address, sample):
    """The value of one sample at /metrics, as in `stenopool_sessions{state="connected"}`; 0 when it is not there."""
    lines = get(address, "/metrics").splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{sample} ")), 0.0)


def is_ready(address):
    try:
        return get(address, "/readyz") == "ready\n"
    except OSError:
        return False
