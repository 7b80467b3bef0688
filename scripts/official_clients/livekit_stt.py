#!/usr/bin/env python3
"""LiveKit's OpenAI STT plugin, unmodified, transcribes recordings through a running server, in real time.

    python3 -m venv /tmp/livekit && /tmp/livekit/bin/pip install livekit-agents livekit-plugins-openai
    /tmp/livekit/bin/python scripts/official_clients/livekit_stt.py http://127.0.0.1:8080/v1 [--key KEY] [--count N]

Prints what the plugin tells; exits with 1 when a text is not what was said.
"""

import argparse
import asyncio
import sys

from livekit import rtc
from livekit.agents import stt, utils
from livekit.plugins import openai
from recordings import RATE, pieces, reliable, silence

PATIENCE_SECONDS = 20.0

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("base_url", help="for instance http://127.0.0.1:8080/v1")
parser.add_argument("--key", default="none", help="API key, when the server asks for one")
parser.add_argument("--count", type=int, default=2, help="how many recordings")
args = parser.parse_args()


async def speak(stream, samples):
    """As a microphone would."""
    for piece in pieces(samples):
        stream.push_frame(rtc.AudioFrame(piece, RATE, 1, len(piece) // 2))
        await asyncio.sleep(0.02)


async def final(stream):
    """Prints what is told up to the next final text, and gives that."""
    async for event in stream:
        text = event.alternatives[0].text if event.alternatives else ""
        print(f"  {event.type.value} {text}".rstrip(), flush=True)
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            return text


async def run():
    failed = 0
    async with utils.http_context.open():
        plugin = openai.STT(base_url=args.base_url, api_key=args.key, model="gpt-4o-transcribe", use_realtime=True)
        stream = plugin.stream()
        for file, samples, said in reliable(args.count):
            print(file, flush=True)
            speaking = asyncio.create_task(speak(stream, silence(0.5) + samples + silence(1.5)))
            text = await asyncio.wait_for(final(stream), PATIENCE_SECONDS)
            await speaking
            failed += text != said
            print(f"  {'ok' if text == said else f'FAILED: expected {said!r}'}", flush=True)
        await stream.aclose()
        await plugin.aclose()
    return failed


sys.exit(1 if asyncio.run(run()) else 0)
