#!/usr/bin/env python3
"""How long people are without their server when it crashes and is started again at once, as by systemd with a socket unit.

usage: restart_time.py [--binary target/release/stenopool] [--model NAME|FILE] [--rounds 10] [--how abort,kill] [--weights cached,cold]
                       [--json FILE] [-- FLAGS FOR SERVE...]

The script holds the listening socket and hands it to every server it starts (LISTEN_FDS), so nobody is refused meanwhile: whoever
connects waits in the kernel's queue. In each round somebody speaks, and the server is ended in the midst of it:

  abort   as a failing call to a GPU ends it (--debug-abort-after): it has half a second for its last words. Checked: the client
          hears pool.session.closing with the reason `crashed`, its connection is closed with 1012, the process ends by SIGABRT
  kill    by SIGKILL, as the kernel does when memory has run out: nobody hears a word

Another server is started as soon as the first is gone, and the client comes back at once, without the wait that it is asked for,
and speaks again. Measured from the crash (abort: when the client hears of it; kill: when the signal is sent), in seconds:

  gone        the process has ended
  ready       /readyz says so
  first text  the client's first text is there. Its recording is sent all at once

With `cached`, all that a server reads is read before it is restarted; with `cold`, the kernel is told to forget it: the
model, the voice detector, ONNX Runtime and the binary (the demo model is in the binary). What is in memory then is shown. Needs the `websockets` package. Exits with 1 when
something is not as it should be.
"""
import argparse
import asyncio
import contextlib
import ctypes
import json
import mmap
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import websockets

from realtime_eval import COMPLETED, read_wav
from running import BINARY, ROOT, check, get

RECORDING = ROOT / "tests" / "recordings" / "eval" / "seen-voice-000.wav"
PATIENCE_SECONDS = 300.0
ABORT, KILL = "abort", "kill"
CACHED, COLD = "cached", "cold"
FIGURES = ("gone", "ready", "first text")
CRASHED = 1012


class Shop:
    """The listening socket, and the server that serves at it for the time being."""

    def __init__(self, args):
        self.args = args
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def open(self, *flags):
        """Starts a server. The socket is its standard input, which the variable names as the first of those handed over."""
        command = [self.args.binary, "--log", "error", "serve", "--model", self.args.model, *self.args.flags, *flags]
        environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_FDS_FIRST_FD": "0"}
        return subprocess.Popen(
            list(map(str, command)), stdin=self.socket, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
        )

    async def ready(self):
        """Waits until /readyz says so; the request waits in the socket's queue."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    if await asyncio.to_thread(get, self.address, "/readyz") == "ready\n":
                        return
                await asyncio.sleep(0.005)


class Client:
    """Somebody who speaks."""

    def __init__(self, connection):
        self.connection = connection

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, address, rate):
        url = f"ws://{address}/v1/realtime?intent=transcription"
        async with websockets.connect(url, max_size=None, open_timeout=PATIENCE_SECONDS) as connection:
            audio = {"input": {"format": {"type": "audio/pcm", "rate": rate}}}
            await connection.send(json.dumps({"type": "session.update", "session": {"type": "transcription", "audio": audio}}))
            yield cls(connection)

    async def say(self, pcm, rate):
        """All of it at once, and the second of silence that ends it."""
        await self.connection.send(pcm + bytes(2 * rate))

    async def until(self, *kinds):
        while True:
            event = json.loads(await asyncio.wait_for(self.connection.recv(), PATIENCE_SECONDS))
            if event["type"] in kinds:
                return event


async def ended(process):
    """When a process has ended."""
    await asyncio.to_thread(process.wait)
    return time.monotonic()


async def aborted(client, recording, process):
    """Speaks until the server says its last words; when, and when it was gone."""
    gone = asyncio.create_task(ended(process))
    await client.say(*recording)
    closing = await client.until("pool.session.closing")
    since = time.monotonic()
    check("the client hears why, and when to come back", closing["reason"] == "crashed" and closing["retry_after_ms"] > 0, f"in {closing['retry_after_ms']} ms")
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await asyncio.wait_for(client.connection.recv(), PATIENCE_SECONDS)
    check("its connection is closed as that of a server that restarts", client.connection.close_code == CRASHED, client.connection.close_code)
    gone = await gone
    check("the process has ended by SIGABRT", process.returncode == -signal.SIGABRT, process.returncode)
    return since, gone


async def killed(client, recording, process):
    """Kills the server in the midst of speech; when, and when it was gone."""
    await client.say(*recording)
    await client.until("input_audio_buffer.speech_started")
    gone = asyncio.create_task(ended(process))
    since = time.monotonic()
    process.kill()
    return since, await gone


async def play(shop, how, weights, recording, files):
    """One round; its figures, and which part of the files was still in memory when the second server was started."""
    rate = recording[1]
    process = shop.open(*(["--debug-abort-after", 0] if how == ABORT else []))
    try:
        await shop.ready()
        async with Client.connected(shop.address, rate) as client:
            since, gone = await (aborted if how == ABORT else killed)(client, recording, process)
        # What the script does itself does not count.
        begin = time.monotonic()
        for path in files:
            forget(path) if weights == COLD else path.read_bytes()
        since, gone = (at + time.monotonic() - begin for at in (since, gone))
        kept = resident(files)
        process = shop.open()
        ready_at = asyncio.create_task(ready(shop))
        async with Client.connected(shop.address, rate) as client:
            await client.say(*recording)
            heard = await client.until(COMPLETED)
            text_at = time.monotonic()
        check("who comes back is understood", bool(heard["transcript"].strip()) or not shop.args.expects_text, heard["transcript"])
        return dict(zip(FIGURES, (gone - since, await ready_at - since, text_at - since))), kept
    finally:
        process.terminate()
        process.wait()


async def ready(shop):
    """When a server is ready."""
    await shop.ready()
    return time.monotonic()


def forget(path):
    """Has the kernel give up the pages of a file that it keeps."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(paths):
    """Which part of the files is in the kernel's memory, from 0 to 1."""
    libc = ctypes.CDLL(None, use_errno=True)
    pages = kept = 0
    for path in paths:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
            seen = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
            first = ctypes.c_char.from_buffer(mapped)
            asked = libc.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(mapped)), seen)
            assert asked == 0, os.strerror(ctypes.get_errno())
            # It keeps the file from being unmapped.
            del first
            pages, kept = pages + len(seen), kept + sum(page & 1 for page in seen)
    return kept / pages


def read_files(args):
    """What a server reads when it starts."""
    models = ROOT / "models"
    beside = [models / "libonnxruntime.so", models / "silero_vad.onnx"]
    return [path for path in (pathlib.Path(args.binary), pathlib.Path(args.model), *beside) if path.is_file()]


def percentile(values, part):
    """As the load test has it: the smallest value that so many are not above."""
    return sorted(values)[max(0, -(-len(values) * part // 100) - 1)]


def machine():
    cpu = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    gpus = ""
    if shutil.which("nvidia-smi"):
        gpus = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True).stdout
    parts = [cpu.group(1) if cpu else platform.machine(), f"{os.cpu_count()} cores", *filter(None, gpus.splitlines())]
    return ", ".join(parts)


def table(rows):
    print("| ended by | files | of them in memory | rounds | " + " | ".join(f"{name} p50 | p95" for name in FIGURES) + " |")
    print("|---|---|---:|---:|" + "---:|---:|" * len(FIGURES))
    for (how, weights), rounds in rows.items():
        figures = [f"{percentile([took[name] for took, _ in rounds], part):.2f}" for name in FIGURES for part in (50, 95)]
        kept = statistics.mean(kept for _, kept in rounds)
        print(f"| {how} | {weights} | {100 * kept:.0f} % | {len(rounds)} | " + " | ".join(figures) + " |")


async def measure(args):
    recording = tuple(reversed(read_wav(args.recording)))
    shop, files, rows = Shop(args), read_files(args), {}
    for how in args.how:
        for weights in args.weights:
            for number in range(args.rounds):
                print(f"{how}, {weights}, {number + 1} of {args.rounds}", flush=True)
                rows.setdefault((how, weights), []).append(await play(shop, how, weights, recording, files))
    return rows


def words_of(known):
    def read(text):
        words = text.split(",")
        if not set(words) <= set(known):
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}")
        return words
    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--binary", default=BINARY)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--recording", type=pathlib.Path, default=RECORDING)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--how", type=words_of([ABORT, KILL]), default=[ABORT, KILL])
    parser.add_argument("--weights", type=words_of([CACHED, COLD]), default=[CACHED, COLD])
    parser.add_argument("--json", type=pathlib.Path, help="write the figures of all rounds there")
    parser.add_argument("flags", nargs="*", help="more flags for `serve`")
    args = parser.parse_args()
    args.binary = os.path.abspath(args.binary)
    # Weights of random numbers give no words.
    args.expects_text = args.model == "demo"
    rows = asyncio.run(measure(args))
    print(f"\n{machine()}; {args.model}\n")
    table(rows)
    if args.json:
        rounds = [{"ended_by": how, "files": weights, "in_memory": kept, **took} for (how, weights), all in rows.items() for took, kept in all]
        args.json.write_text(json.dumps({"machine": machine(), "model": args.model, "rounds": rounds}, indent=1) + "\n")
    return int(check.failed)


if __name__ == "__main__":
    sys.exit(main())
