#!/usr/bin/env python3
"""Word error per kind over /v1/realtime, paced in real time as a microphone would be.

usage: realtime_eval.py [--url ws://127.0.0.1:8080] [--eval DIR] [--at-once N] [--base64] [--key KEY] [--show]
       realtime_eval.py --eight      eight clients at once, each saying something else: each must get its own words only

The transcripts of a file's utterances are joined. Needs the `websockets` package. Exits with 1 when silence gave text, a session failed, or (with
--eight) a client got a text that is not its own.
"""
import argparse
import asyncio
import base64
import json
import pathlib
import sys
import time
import wave

import websockets

import scoring

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMPLETED = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"
CHUNK_SECONDS = 0.1
SILENCE_SECONDS = 1.0
# How long after the last audio an open item may still be without its text.
PATIENCE_SECONDS = 20.0


def read_wav(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2), f"{path}: expected mono PCM16"
        return file.getframerate(), file.readframes(file.getnframes())


async def speak(socket, rate, pcm, use_base64):
    """Sends the audio and a second of silence, each chunk when it would have been said."""
    pcm = pcm + bytes(2 * int(rate * SILENCE_SECONDS))
    step = 2 * int(rate * CHUNK_SECONDS)
    begin = time.monotonic()
    for number, start in enumerate(range(0, len(pcm), step)):
        await asyncio.sleep(max(0.0, begin + number * CHUNK_SECONDS - time.monotonic()))
        chunk = pcm[start:start + step]
        if use_base64:
            audio = base64.b64encode(chunk).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        else:
            await socket.send(chunk)


async def listen(socket, texts, spoken):
    """Collects transcripts until everything was said and every utterance has its text."""
    pending = set()
    while not (spoken.is_set() and not pending):
        try:
            # Silence after the last chunk ends an utterance in progress; give its events a moment to arrive.
            event = json.loads(await asyncio.wait_for(socket.recv(), 1.0 if not pending else PATIENCE_SECONDS))
        except asyncio.TimeoutError:
            if pending:
                raise RuntimeError(f"{len(pending)} utterances got no text within {PATIENCE_SECONDS} s") from None
            continue
        kind = event["type"]
        if kind == "input_audio_buffer.speech_started":
            pending.add(event["item_id"])
        elif kind == COMPLETED:
            pending.discard(event["item_id"])
            texts.append(event["transcript"])
        elif kind in ("error", FAILED):
            raise RuntimeError(f"{kind}: {event['error']['message']}")


async def transcribe(args, path):
    rate, pcm = read_wav(path)
    headers = {"Authorization": f"Bearer {args.key}"} if args.key else {}
    url = f"{args.url}/v1/realtime?intent=transcription"
    async with websockets.connect(url, additional_headers=headers, max_size=None) as socket:
        created = json.loads(await socket.recv())
        assert created["type"] == "session.created", created
        audio = {"input": {"format": {"type": "audio/pcm", "rate": rate}}}
        await socket.send(json.dumps({"type": "session.update", "session": {"type": "transcription", "audio": audio}}))
        texts, spoken = [], asyncio.Event()
        listening = asyncio.create_task(listen(socket, texts, spoken))
        await speak(socket, rate, pcm, args.base64)
        spoken.set()
        await listening
    return " ".join(text for text in texts if text)


async def evaluate(args):
    seats = asyncio.Semaphore(args.at_once)

    async def one(row):
        async with seats:
            return row, await transcribe(args, row["path"])

    heard = await asyncio.gather(*map(one, scoring.recordings(args.eval)))
    if args.show:
        for row, text in heard:
            if text != row["text"]:
                print(f"{row['file']}\n  said:  {row['text']}\n  heard: {text}")
    return scoring.report(heard) == 0


async def eight(args):
    """Eight reliable recordings of eight different texts, all at once."""
    different = {row["text"]: row for row in scoring.recordings(args.eval, "reliable.tsv") if row["text"]}
    rows = list(different.values())[:8]
    assert len(rows) == 8, "eight different texts are needed"
    heard = await asyncio.gather(*(transcribe(args, row["path"]) for row in rows))
    clean = True
    for row, text in zip(rows, heard):
        own = scoring.words(text) == scoring.words(row["text"])
        clean &= own
        print(f"{'ok  ' if own else 'FAIL'} {row['file']}: {text!r}" + ("" if own else f", said was {row['text']!r}"))
    return clean


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="ws://127.0.0.1:8080")
    parser.add_argument("--eval", type=pathlib.Path, default=ROOT / "tests" / "recordings" / "eval")
    parser.add_argument("--at-once", type=int, default=4, help="how many files are spoken at the same time")
    parser.add_argument("--base64", action="store_true", help="send append events instead of binary frames")
    parser.add_argument("--key", help="API key")
    parser.add_argument("--show", action="store_true", help="print the files whose text is not exact")
    parser.add_argument("--eight", action="store_true", help="eight clients at once instead of the evaluation")
    args = parser.parse_args()
    sys.exit(0 if asyncio.run(eight(args) if args.eight else evaluate(args)) else 1)


if __name__ == "__main__":
    main()
