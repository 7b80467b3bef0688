#!/usr/bin/env python3
"""The unmodified `openai` package holds Realtime transcription sessions with a running server.

usage: openai_realtime.py [--base-url http://127.0.0.1:8080/v1] [--eval DIR] [--key KEY] [--files N]

Speaks recordings that the demo model gets right to the letter, once cut by server_vad and once by manual commit, and
expects their exact text. Needs `openai[realtime]`. Prints each check and exits with 1 when one failed.
"""
import argparse
import array
import asyncio
import base64
import csv
import math
import pathlib
import sys
import wave

from openai import AsyncOpenAI

ROOT = pathlib.Path(__file__).resolve().parent.parent
RATE = 24_000
PATIENCE_SECONDS = 20.0
COMPLETED = "conversation.item.input_audio_transcription.completed"


def at_24_khz(path):
    """The recording as PCM16 at 24 kHz: a windowed sinc of 32 taps, three samples for every two."""
    with wave.open(str(path)) as file:
        shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        assert shape == (1, 2, 16_000), f"{path}: expected mono PCM16 at 16 kHz"
        samples = array.array("h", file.readframes(file.getnframes()))
    padded = [0] * TAPS + list(samples) + [0] * TAPS
    resampled = array.array("h")
    for n in range(len(samples) * 3 // 2):
        place, phase = divmod(2 * n, 3)
        window = padded[place + TAPS // 2 + 1:place + TAPS // 2 + 1 + TAPS]
        value = sum(sample * weight for sample, weight in zip(window, KERNELS[phase]))
        resampled.append(max(-32_768, min(32_767, round(value))))
    return resampled.tobytes()


def kernel(phase):
    """Weights of the 32 samples around a place that lies `phase` thirds after the sixteenth of them."""
    def weight(tap):
        x = tap - (TAPS // 2 - 1) - phase / 3
        sinc = 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)
        return sinc * math.cos(math.pi * x / (TAPS + 2)) ** 2
    return [weight(tap) for tap in range(TAPS)]


TAPS = 32
KERNELS = [kernel(phase) for phase in range(3)]


class Checks:
    def __init__(self):
        self.failed = 0

    def equal(self, what, got, expected):
        good = got == expected
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}: {got!r}" + ("" if good else f", expected {expected!r}"))


async def next_event(connection, *kinds):
    """The events up to the next one of these types; an error event ends the wait."""
    events = []
    while True:
        event = await asyncio.wait_for(connection.recv(), PATIENCE_SECONDS)
        events.append(event)
        if event.type in kinds:
            return events
        if event.type == "error":
            raise RuntimeError(f"error event: {event.error.message}")


async def append(connection, pcm):
    step = 2 * RATE // 10
    for start in range(0, len(pcm), step):
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[start:start + step]).decode())


async def session(client, turn_detection):
    manager = client.realtime.connect(model="gpt-4o-transcribe", extra_query={"intent": "transcription"})
    connection = await manager.enter()
    await next_event(connection, "session.created")
    audio = {"input": {
        "format": {"type": "audio/pcm", "rate": RATE},
        "transcription": {"model": "whisper-1", "language": "en"},
        "turn_detection": turn_detection,
    }}
    await connection.session.update(session={"type": "transcription", "audio": audio})
    updated = (await next_event(connection, "session.updated"))[-1]
    assert updated.session.type == "transcription", updated
    return connection


async def by_server_vad(client, checks, row, pcm):
    connection = await session(client, {"type": "server_vad", "silence_duration_ms": 500})
    await append(connection, bytes(RATE) + pcm + bytes(2 * RATE))
    events = await next_event(connection, COMPLETED)
    checks.equal(f"{row['file']} by server_vad", events[-1].transcript, row["text"])
    # Deltas come as they come, and what the pool tells is not OpenAI's.
    kinds = [event.type for event in events if not event.type.endswith(".delta") and not event.type.startswith("pool.")]
    order = [
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
        "conversation.item.added", "conversation.item.done", COMPLETED,
    ]
    checks.equal(f"{row['file']} order of events", kinds, order)
    await connection.close()


async def by_manual_commit(client, checks, row, pcm):
    connection = await session(client, None)
    await append(connection, pcm)
    await connection.input_audio_buffer.commit()
    completed = (await next_event(connection, COMPLETED))[-1]
    checks.equal(f"{row['file']} by manual commit", completed.transcript, row["text"])
    checks.equal(f"{row['file']} usage in seconds", round(completed.usage.seconds, 1), round(len(pcm) / 2 / RATE, 1))
    await connection.input_audio_buffer.commit()
    error = (await next_event(connection, "error"))[-1].error
    checks.equal("an empty commit", error.code, "input_audio_buffer_commit_empty")
    await connection.close()


async def run(args):
    with open(args.eval / "reliable.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    # One sentence each: the voice detector may cut longer recordings in two.
    rows = [row for row in rows if row["text"].count(".") == 1 and row["kind"] != "human-digits"][:args.files]
    client, checks = AsyncOpenAI(base_url=args.base_url, api_key=args.key), Checks()
    for row in rows:
        pcm = at_24_khz(args.eval / row["file"])
        await by_server_vad(client, checks, row, pcm)
        await by_manual_commit(client, checks, row, pcm)
    return checks.failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--eval", type=pathlib.Path, default=ROOT / "tests" / "recordings" / "eval")
    parser.add_argument("--key", default="none")
    parser.add_argument("--files", type=int, default=3)
    sys.exit(1 if asyncio.run(run(parser.parse_args())) else 0)


if __name__ == "__main__":
    main()
