#!/usr/bin/env python3
"""Pipecat's OpenAIRealtimeSTTService, unmodified, transcribes recordings through a running server, in real time.

    python3 -m venv /tmp/pipecat && /tmp/pipecat/bin/pip install 'pipecat-ai[openai]'
    /tmp/pipecat/bin/python scripts/official_clients/pipecat_stt.py ws://127.0.0.1:8080/v1/realtime [--key KEY] [--count N]

Speaks once as its default wants it, where the pipeline finds the end of speech and the service commits, and once with
the server's own voice detection. Prints what the service tells; exits with 1 when a text is not what was said.
"""

import argparse
import asyncio
import sys

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService
from pipecat.workers.runner import WorkerRunner
from recordings import RATE, pieces, reliable, silence

PATIENCE_SECONDS = 20.0

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("base_url", help="for instance ws://127.0.0.1:8080/v1/realtime")
parser.add_argument("--key", default="none", help="API key, when the server asks for one")
parser.add_argument("--count", type=int, default=2, help="how many recordings")
args = parser.parse_args()


class Listener(FrameProcessor):
    """Prints texts, and hands final ones on."""

    def __init__(self):
        super().__init__()
        self.texts = asyncio.Queue()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, (InterimTranscriptionFrame, TranscriptionFrame)):
            print(f"  {type(frame).__name__} {frame.text}", flush=True)
        if isinstance(frame, TranscriptionFrame):
            self.texts.put_nowait(frame.text)
        await self.push_frame(frame, direction)


async def speak(worker, samples):
    """As a microphone would."""
    for piece in pieces(samples):
        await worker.queue_frame(InputAudioRawFrame(audio=piece, sample_rate=RATE, num_channels=1))
        await asyncio.sleep(0.02)


async def say(worker, samples, committing):
    await speak(worker, silence(0.5))
    if committing:
        await worker.queue_frame(VADUserStartedSpeakingFrame())
    await speak(worker, samples)
    if committing:
        await worker.queue_frame(VADUserStoppedSpeakingFrame())
    else:
        await speak(worker, silence(1.5))


async def transcribe(turn_detection):
    service = OpenAIRealtimeSTTService(api_key=args.key, base_url=args.base_url, turn_detection=turn_detection)
    listener = Listener()
    worker = PipelineWorker(Pipeline([service, listener]), params=PipelineParams(audio_in_sample_rate=RATE))
    errors = []

    @service.event_handler("on_error")
    async def on_error(_service, error: ErrorFrame):
        errors.append(error.error)

    async def talk():
        failed = 0
        for file, samples, said in reliable(args.count):
            print(file, flush=True)
            await say(worker, samples, committing=turn_detection is False)
            text = await asyncio.wait_for(listener.texts.get(), PATIENCE_SECONDS)
            failed += text.strip() != said
            print(f"  {'ok' if text.strip() == said else f'FAILED: expected {said!r}'}", flush=True)
        await worker.queue_frame(EndFrame())
        return failed

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    failed, _ = await asyncio.gather(talk(), runner.run())
    for error in errors:
        print(f"  FAILED: {error}")
    return failed + len(errors)


async def run():
    print("# the pipeline commits", flush=True)
    failed = await transcribe(turn_detection=False)
    print("# the server detects", flush=True)
    return failed + await transcribe(turn_detection=None)


logger.remove()
logger.add(sys.stderr, level="WARNING")
sys.exit(1 if asyncio.run(run()) else 0)
