#!/usr/bin/env python3
"""What people see who wait for a slot, shown on a server of its own with the bundled demo model.

usage: waiting_room.py [--binary target/release/stenopool] [SCENE...]

scenes:
  line       --slots 1, three clients speak at the same time: all get their words, those who wait see their place, and the
             first estimate of each wait is compared with what it came to
  dedicated  --lease session --slots 2, three clients: the third waits at position 1, and is served when one leaves
  killed     a client is killed in the middle of a word: how long until its lease is free
  uploads    --slots 1, one client speaks beside sixty uploads of half a minute, all at once: how long its texts wait
  agree      /pool and /metrics are read again and again while clients speak: they must say the same

Needs the `websockets` package. Exits with 1 when something is not as it should be.
"""
import argparse
import asyncio
import contextlib
import io
import json
import math
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.request
import wave

import websockets

import scoring
from realtime_eval import COMPLETED, FAILED, read_wav, speak
from running import PATIENCE_SECONDS, check, get, pool, server

ROOT = pathlib.Path(__file__).resolve().parent.parent
EVAL = ROOT / "tests" / "recordings" / "eval"


class Client:
    """One connection; everything it hears is kept, with the time."""

    def __init__(self, connection, rate):
        self.connection, self.rate, self.heard, self.news = connection, rate, [], asyncio.Event()
        self.listening = asyncio.create_task(self.listen())

    @classmethod
    async def connect(cls, address, rate):
        connection = await websockets.connect(f"ws://{address}/v1/realtime?intent=transcription", max_size=None)
        client = cls(connection, rate)
        audio = {"input": {"format": {"type": "audio/pcm", "rate": rate}}}
        await connection.send(json.dumps({"type": "session.update", "session": {"type": "transcription", "audio": audio}}))
        return client

    async def listen(self):
        async for message in self.connection:
            self.heard.append((time.monotonic(), json.loads(message)))
            self.news.set()

    def events(self, *kinds):
        return [(at, event) for at, event in self.heard if event["type"] in kinds]

    async def until(self, claim):
        """Waits until something is true of what was heard."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not claim():
                self.news.clear()
                await self.news.wait()

    async def settled(self):
        """Waits until everything that was begun has ended."""
        begun = lambda: len(self.events("input_audio_buffer.speech_started"))
        await self.until(lambda: len(self.events(COMPLETED, FAILED)) >= begun())

    def text(self):
        return " ".join(event["transcript"] for _, event in self.events(COMPLETED))

    async def close(self):
        await self.connection.close()
        await self.listening


def reliable(count, seconds=(1.0, 4.0)):
    """Recordings that the demo model reads to the letter."""
    rows = [dict(row, wav=read_wav(row["path"])) for row in scoring.recordings(EVAL, "reliable.tsv") if row["text"]]
    length = lambda row: len(row["wav"][1]) / 2 / row["wav"][0]
    fitting = [row for row in rows if seconds[0] <= length(row) <= seconds[1] and row["wav"][0] == rows[0]["wav"][0]]
    assert len(fitting) >= count, "more recordings are needed"
    return fitting[:count]


async def line(args):
    rows = reliable(10)
    rate = rows[0]["wav"][0]
    with server(args.binary, "--slots", "1") as address:
        clients = [await Client.connect(address, rate) for _ in range(3)]

        async def say(client):
            for row in rows:
                await speak(client.connection, rate, row["wav"][1], False)
            await client.settled()

        await asyncio.gather(*map(say, clients))
        said = scoring.words(" ".join(row["text"] for row in rows))
        for number, client in enumerate(clients, 1):
            check(f"client {number} got all its words", scoring.words(client.text()) == said)
        waits = [wait for client in clients for wait in estimated_waits(client)]
        seen = sum(1 for client in clients if client.events("pool.queue.updated"))
        check("those who waited saw their place", seen >= 2, f"{len(waits)} waits, at {seen} clients")
        # Of factors, whichever way: one that is ten times too long does not make up for one that is ten times too short.
        factors = [abs(math.log2(max(estimate, 1) / max(waited, 1))) for estimate, waited in waits]
        mean = 2 ** (sum(factors) / len(factors))
        right = sum(1 for factor in factors if factor <= 1.0) / len(factors)
        check("estimates are right within a factor of two on average", mean <= 2.0,
              f"off by a factor of {mean:.2f} on average, {100 * right:.0f} % within a factor of two")
        for client in clients:
            await client.close()


def estimated_waits(client):
    """The first estimate of each wait, in ms, and what the wait came to."""
    waits, estimate = [], None
    for _, event in client.heard:
        if event["type"] == "pool.queue.updated" and estimate is None:
            estimate = event["estimated_wait_ms"]
        elif event["type"] == "pool.lease.granted":
            if estimate is not None:
                waits.append((estimate, event["waited_ms"]))
            estimate = None
    return waits


async def dedicated(args):
    rows = reliable(3)
    rate = rows[0]["wav"][0]
    with server(args.binary, "--slots", "2", "--lease", "session") as address:
        clients = [await Client.connect(address, rate) for _ in range(3)]
        first, second, third = clients
        await asyncio.gather(*(speak(client.connection, rate, row["wav"][1], False) for client, row in zip(clients, rows)))
        await asyncio.gather(first.settled(), second.settled())
        await third.until(lambda: third.events("pool.queue.updated"))
        update = third.events("pool.queue.updated")[-1][1]
        check("the third waits at position 1, and nobody guesses for how long",
              (update["position"], update["estimated_wait_ms"]) == (1, None), json.dumps(update))
        check("it has no text yet", not third.events(COMPLETED))
        left = time.monotonic()
        await first.close()
        await third.until(lambda: third.events("pool.lease.granted"))
        served = third.events("pool.lease.granted")[0][0] - left
        check("it is served within a second when one leaves", served < 1.0, f"{1000 * served:.0f} ms")
        await third.settled()
        for client, row in zip(clients, rows):
            check("what was said has its text", scoring.words(client.text()) == scoring.words(row["text"]), client.text())
        await second.close()
        await third.close()


SPEAKER = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import waiting_room
asyncio.run(waiting_room.speak_for_ever(sys.argv[2]))
"""


async def speak_for_ever(address):
    rows = reliable(1, (2.0, 9.0))
    rate, pcm = rows[0]["wav"]
    client = await Client.connect(address, rate)
    while True:
        await speak(client.connection, rate, pcm, False)


async def killed(args):
    with server(args.binary, "--slots", "1", "--lease", "session") as address:
        command = [sys.executable, "-c", SPEAKER, str(pathlib.Path(__file__).parent), address]
        speaker = subprocess.Popen(command)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (pool(address)["slots"]["leased"] and pool(address)["sessions"]["speaking"]):
                await asyncio.sleep(0.02)
            speaker.kill()
            since = time.monotonic()
            while pool(address)["slots"]["leased"]:
                await asyncio.sleep(0.01)
        took = time.monotonic() - since
        check("the lease of a killed client is free within a second", took < 1.0, f"{1000 * took:.0f} ms")


def upload(address, recording):
    """Sends a file to be transcribed; the server may end before it has answered."""
    form = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + recording + b"\r\n--X--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=X"}
    request = urllib.request.Request(f"http://{address}/v1/audio/transcriptions", form, headers)
    with contextlib.suppress(OSError):
        urllib.request.urlopen(request, timeout=300).read()


async def uploads(args):
    rows = reliable(6)
    rate = rows[0]["wav"][0]
    said = b"".join(row["wav"][1] + bytes(2 * rate) for row in rows)
    recording = io.BytesIO()
    with wave.open(recording, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((said * 9)[:2 * rate * 30])
    with server(args.binary, "--slots", "1", "--shutdown-grace-s", "1") as address:
        crowd = [threading.Thread(target=upload, args=(address, recording.getvalue()), daemon=True) for _ in range(60)]
        for thread in crowd:
            thread.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while pool(address)["queue"]["depth"] < 30:
                await asyncio.sleep(0.02)
        client = await Client.connect(address, rate)
        for row in rows:
            await speak(client.connection, rate, row["wav"][1], False)
        await client.settled()
        waits = [event["pool"]["waited_ms"] for _, event in client.events(COMPLETED)]
        check("somebody who speaks hardly waits beside sixty uploads", max(waits) < 1_000, f"at most {max(waits)} ms")
        await client.close()


def told_by_metrics(text):
    gauge = lambda sample: float(re.search(rf"^{re.escape(sample)} (\S+)$", text, re.M)[1])
    slots = {state: gauge(f'stenopool_pool_slots{{state="{state}"}}') for state in ("idle", "leased", "warming", "retired")}
    return slots, gauge("stenopool_pool_waiting"), gauge('stenopool_sessions{state="connected"}')


def told_by_pool(told):
    slots = {state: told["slots"][state] for state in ("idle", "leased", "warming", "retired")}
    return slots, told["queue"]["depth"], told["sessions"]["connected"]


async def agree(args):
    rows = reliable(4)
    rate = rows[0]["wav"][0]
    with server(args.binary, "--slots", "1") as address:
        clients = [await Client.connect(address, rate) for _ in range(4)]
        speaking = asyncio.gather(*(speak(client.connection, rate, row["wav"][1] * 4, False) for client, row in zip(clients, rows)))
        compared = different = busy = 0
        while not speaking.done():
            before, metrics, after = await asyncio.to_thread(lambda: (pool(address), get(address, "/metrics"), pool(address)))
            # What changed between two readings of /pool cannot be compared.
            if told_by_pool(before) == told_by_pool(after):
                compared += 1
                different += told_by_metrics(metrics) != told_by_pool(before)
                busy += before["slots"]["leased"] > 0
            await asyncio.sleep(0.005)
        # Between two equal readings the pool may have changed there and back: at most a few times in hundreds.
        check("/pool and /metrics say the same", compared > 50 and busy > 0 and different * 50 <= compared,
              f"{different} of {compared} differ, {busy} of them while a slot worked")
        for client in clients:
            await client.settled()
            await client.close()


SCENES = {"line": line, "dedicated": dedicated, "killed": killed, "uploads": uploads, "agree": agree}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "stenopool"))
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    args = parser.parse_args()
    for name in args.scenes or SCENES:
        print(name, flush=True)
        asyncio.run(SCENES[name](args))
    sys.exit(1 if check.failed else 0)


if __name__ == "__main__":
    main()
