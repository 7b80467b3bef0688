#!/usr/bin/env python3
"""Checks a running server with the unmodified `openai` package (PyPI): Realtime transcription sessions.

    pip install 'openai[realtime]'
    scripts/openai_realtime.py http://127.0.0.1:8080/v1 [--key KEY] [--recordings DIR] [--count N] [--live]

DIR holds WAV files (16 kHz, mono) and `reliable.tsv` (columns `file`, `kind`, `text`): recordings that the demo model
gets right to the letter. With --live text has to come while somebody still speaks, and silence has to run out. Every
event is held against the package's own types. One line per check; exit code 1 when one failed.
"""

import argparse
import asyncio
import base64
import contextlib
import csv
import functools
import pathlib
import re
import sys
import wave

import openai
from openai.types import realtime

from resampling import at_24_khz

RECORDINGS = pathlib.Path(__file__).resolve().parents[1] / "tests" / "recordings" / "eval"
RATE = 24_000
PATIENCE_SECONDS = 20.0
LOGPROBS = "item.input_audio_transcription.logprobs"

# What each event is to the package. Others than these have no business in a transcription session.
TYPES = {
    "session.created": realtime.SessionCreatedEvent,
    "session.updated": realtime.SessionUpdatedEvent,
    "error": realtime.RealtimeErrorEvent,
    "input_audio_buffer.speech_started": realtime.InputAudioBufferSpeechStartedEvent,
    "input_audio_buffer.speech_stopped": realtime.InputAudioBufferSpeechStoppedEvent,
    "input_audio_buffer.committed": realtime.InputAudioBufferCommittedEvent,
    "input_audio_buffer.cleared": realtime.InputAudioBufferClearedEvent,
    "input_audio_buffer.timeout_triggered": realtime.InputAudioBufferTimeoutTriggered,
    "conversation.item.added": realtime.ConversationItemAdded,
    "conversation.item.done": realtime.ConversationItemDone,
    "conversation.item.deleted": realtime.ConversationItemDeletedEvent,
    "conversation.item.retrieved": realtime.realtime_server_event.ConversationItemRetrieved,
    "conversation.item.input_audio_transcription.delta": realtime.ConversationItemInputAudioTranscriptionDeltaEvent,
    "conversation.item.input_audio_transcription.completed":
        realtime.ConversationItemInputAudioTranscriptionCompletedEvent,
    "conversation.item.input_audio_transcription.failed": realtime.ConversationItemInputAudioTranscriptionFailedEvent,
}
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
COMMITTED = ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
SPOKEN = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", *COMMITTED]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("base_url", help="for instance http://127.0.0.1:8080/v1")
parser.add_argument("--key", help="API key, when the server asks for one")
parser.add_argument("--model", default="gpt-4o-transcribe")
parser.add_argument("--recordings", type=pathlib.Path, default=RECORDINGS)
parser.add_argument("--count", type=int, default=3, help="how many recordings are compared to the letter")
parser.add_argument("--live", action="store_true", help="expect interim texts and idle timeouts")
args = parser.parse_args()

client = openai.AsyncOpenAI(base_url=args.base_url, api_key=args.key or "none", max_retries=0)
checks = []


def check(function):
    """Registers a check; its first docstring line is what is printed."""
    checks.append(function)
    return function


def same(got, expected):
    assert got == expected, f"expected {expected!r}, got {got!r}"


def reliable():
    """Recordings of one sentence each, as the voice detector may cut others in two, with their texts."""
    with open(args.recordings / "reliable.tsv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = [row for row in rows if row["text"].count(".") == 1 and row["kind"] != "human-digits"]
    return [(row["file"], row["text"]) for row in rows[: args.count]]


@functools.cache
def recording(file):
    """The recording as PCM16 at 24 kHz."""
    with wave.open(str(args.recordings / file)) as opened:
        same((opened.getnchannels(), opened.getsampwidth(), opened.getframerate()), (1, 2, 16_000))
        return at_24_khz(opened.readframes(opened.getnframes()))


class Session:
    """A connection, and what was told on it."""

    def __init__(self, connection):
        self.connection = connection
        self.names = set()

    async def event(self):
        """The next event that is OpenAI's, held against its type."""
        while True:
            event = await asyncio.wait_for(self.connection.recv(), PATIENCE_SECONDS)
            assert event.event_id and event.event_id not in self.names, f"not a new name: {event}"
            self.names.add(event.event_id)
            if event.type.startswith("pool."):
                continue
            expected = TYPES[event.type]
            assert isinstance(event, expected), f"{event.type} became a {type(event).__name__}"
            # The package itself takes what lacks fields.
            expected.model_validate(event.to_dict())
            return event

    async def until(self, kind):
        """The events up to the next one of this type; an error that is not waited for ends the wait."""
        events = []
        while not events or events[-1].type != kind:
            events.append(await self.event())
            assert kind == "error" or events[-1].type != "error", events[-1].error
        return events

    async def last(self, kind):
        return (await self.until(kind))[-1]

    async def update(self, **audio_input):
        """Updates the audio input; gives it as it is then."""
        update = {"type": "transcription", "audio": {"input": audio_input}}
        await self.connection.session.update(session=update)
        return (await self.last("session.updated")).session.audio.input

    async def append(self, pcm, paced=False):
        step = 2 * RATE // 10
        for start in range(0, len(pcm), step):
            piece = base64.b64encode(pcm[start : start + step]).decode()
            await self.connection.input_audio_buffer.append(audio=piece)
            await asyncio.sleep(0.1 if paced else 0)

    async def commit(self, pcm):
        """Says something and commits it; gives the events of the item."""
        await self.append(pcm)
        await self.connection.input_audio_buffer.commit()
        return await self.until(COMPLETED)


@contextlib.asynccontextmanager
async def session(**options):
    """A transcription session, fresh."""
    options = {"model": args.model, "extra_query": {"intent": "transcription"}, **options}
    async with client.realtime.connect(**options) as connection:
        opened = Session(connection)
        created = await opened.event()
        same((created.type, created.session.type), ("session.created", "transcription"))
        yield opened


def words(text):
    return re.findall(r"[\w']+", text.lower())


def distance(said, told):
    """How many words have to be put in, taken out or replaced."""
    row = list(range(len(told) + 1))
    for n, word in enumerate(said, 1):
        before, row[0] = row[0], n
        for m, other in enumerate(told, 1):
            before, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, before + (word != other))
    return row[-1]


def whole(events, order, text):
    """The events are those of one item in this order, with deltas anywhere, and the text is this."""
    same([event.type for event in events if event.type != DELTA], [*order, COMPLETED])
    item = events[-1].item_id
    for event in events:
        same(event.item.id if "conversation.item." in event.type and hasattr(event, "item") else event.item_id, item)
    same(events[-1].transcript, text)
    same(events[-1].usage.type, "duration")
    deltas = "".join(event.delta for event in events if event.type == DELTA)
    diverged = events[-1].pool["diverged_words"]
    assert distance(words(text), words(deltas)) <= diverged, f"{deltas!r} was told of {text!r}, diverged: {diverged}"


@check
async def utterances_are_cut_by_server_vad():
    """server_vad: ids, order, deltas and text of what was said between silences"""
    async with session() as talk:
        await talk.update(turn_detection={"type": "server_vad", "silence_duration_ms": 500})
        for file, text in reliable():
            await talk.append(bytes(RATE) + recording(file) + bytes(3 * RATE))
            whole(await talk.until(COMPLETED), SPOKEN, text)


@check
async def text_comes_while_somebody_speaks():
    """server_vad: deltas of speech in real time"""
    async with session() as talk:
        file, text = max(reliable(), key=lambda row: len(row[1]))
        saying = asyncio.create_task(talk.append(bytes(RATE) + recording(file) + bytes(3 * RATE), paced=True))
        events = await talk.until(COMPLETED)
        await saying
        whole(events, SPOKEN, text)
        kinds = [event.type for event in events]
        early = kinds.index(DELTA) < kinds.index("input_audio_buffer.speech_stopped")
        assert early or not args.live, f"no text before the end of speech: {kinds}"


@check
async def utterances_are_cut_by_commits():
    """manual commit: order, text, usage, and items that follow each other"""
    async with session() as talk:
        assert (await talk.update(turn_detection=None)).turn_detection is None, "detection goes on"
        previous = None
        for file, text in reliable():
            pcm = recording(file)
            events = await talk.commit(pcm)
            whole(events, COMMITTED, text)
            committed = next(event for event in events if event.type == COMMITTED[0])
            same(committed.previous_item_id, previous)
            same(round(events[-1].usage.seconds, 1), round(len(pcm) / 2 / RATE, 1))
            previous = committed.item_id


@check
async def cleared_audio_is_gone():
    """clear: the next commit has nothing to commit"""
    async with session() as talk:
        await talk.update(turn_detection=None)
        await talk.append(bytes(RATE))
        await talk.connection.input_audio_buffer.clear()
        await talk.until("input_audio_buffer.cleared")
        await talk.connection.input_audio_buffer.commit(event_id="mine")
        error = (await talk.last("error")).error
        same((error.code, error.event_id), ("input_audio_buffer_commit_empty", "mine"))


@check
async def silence_runs_out():
    """idle_timeout_ms: the silence is an item, without text"""
    if not args.live:
        return
    async with session() as talk:
        await talk.update(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
        saying = asyncio.create_task(talk.append(bytes(2 * RATE * 8), paced=True))
        events = await talk.until(COMPLETED)
        saying.cancel()
        whole(events, ["input_audio_buffer.timeout_triggered", *COMMITTED], "")
        timeout = events[0]
        assert abs(timeout.audio_end_ms - timeout.audio_start_ms - 5000) < 200, timeout


@check
async def updates_keep_and_clear():
    """session.update: an omitted field keeps its value, null clears it"""
    async with session() as talk:
        vad = {"type": "server_vad", "threshold": 0.6, "silence_duration_ms": 300, "idle_timeout_ms": 6000}
        told = {"language": "en", "prompt": "Commands."}
        await talk.update(turn_detection=vad, transcription=told, noise_reduction={"type": "near_field"})
        kept = await talk.update(turn_detection={"type": "server_vad", "prefix_padding_ms": 200})
        vad = kept.turn_detection
        same((vad.threshold, vad.silence_duration_ms, vad.prefix_padding_ms), (0.6, 300, 200))
        same((vad.idle_timeout_ms, kept.transcription.language), (6000, "en"))
        same((kept.transcription.prompt, kept.noise_reduction.type), ("Commands.", "near_field"))
        cleared = await talk.update(
            turn_detection={"type": "server_vad", "idle_timeout_ms": None, "threshold": None},
            transcription={"prompt": None, "language": None},
            noise_reduction=None,
        )
        same((cleared.turn_detection.idle_timeout_ms, cleared.turn_detection.threshold), (None, 0.5))
        same((cleared.turn_detection.silence_duration_ms, cleared.noise_reduction), (300, None))
        same((cleared.transcription.prompt, cleared.transcription.language), (None, None))
        semantic = await talk.update(turn_detection={"type": "semantic_vad", "eagerness": "low"})
        same((semantic.turn_detection.type, semantic.turn_detection.eagerness), ("semantic_vad", "low"))
        assert (await talk.update(turn_detection=None)).turn_detection is None, "null is manual mode"


@check
async def items_are_retrieved_and_deleted():
    """items: retrieve shows the text, delete forgets it"""
    async with session() as talk:
        await talk.update(turn_detection=None)
        file, text = reliable()[0]
        item_id = (await talk.commit(recording(file)))[-1].item_id
        item = talk.connection.conversation.item
        await item.retrieve(item_id=item_id)
        shown = (await talk.last("conversation.item.retrieved")).item
        assert isinstance(shown, realtime.RealtimeConversationItemUserMessage), shown
        same((shown.id, shown.content[0].type, shown.content[0].transcript), (item_id, "input_audio", text))
        await item.delete(item_id=item_id)
        same((await talk.last("conversation.item.deleted")).item_id, item_id)
        await item.retrieve(item_id=item_id, event_id="again")
        error = (await talk.last("error")).error
        same((error.code, error.event_id, error.param), ("item_not_found", "again", "item_id"))


@check
async def log_probabilities_add_up():
    """logprobs: on request, and they spell the text"""
    async with session() as talk:
        await talk.update(turn_detection=None)
        file, text = reliable()[0]
        assert (await talk.commit(recording(file)))[-1].logprobs is None, "nobody asked"
        await talk.connection.session.update(session={"type": "transcription", "include": [LOGPROBS]})
        same((await talk.last("session.updated")).session.include, [LOGPROBS])
        completed = (await talk.commit(recording(file)))[-1]
        same("".join(token.token for token in completed.logprobs).strip(), text)
        assert all(token.logprob <= 0 and bytes(token.bytes) for token in completed.logprobs), completed.logprobs


@check
async def faults_are_answered_by_name():
    """errors: code, param and the event_id of what was wrong, and the session goes on"""
    async with session() as talk:
        connection = talk.connection
        wrong = {"type": "transcription", "audio": {"input": {"turn_detection": {"type": "ear"}}}}
        await connection.session.update(session=wrong, event_id="one")
        error = (await talk.last("error")).error
        same((error.type, error.code, error.event_id), ("invalid_request_error", "invalid_value", "one"))
        same(error.param, "session.audio.input.turn_detection.type")
        await connection.response.create(event_id="two")
        error = (await talk.last("error")).error
        same((error.code, error.event_id), ("response_unavailable", "two"))
        await connection.input_audio_buffer.append(audio="*", event_id="three")
        error = (await talk.last("error")).error
        same((error.code, error.event_id, error.param), ("invalid_audio_base64", "three", "audio"))
        await talk.update(turn_detection=None)
        file, text = reliable()[0]
        whole(await talk.commit(recording(file)), COMMITTED, text)


@check
async def browsers_are_let_in():
    """subprotocols: realtime is echoed, and the key may stand among them"""
    key = [f"openai-insecure-api-key.{args.key or 'none'}"]
    for protocols in [["realtime", *key], [*key, "realtime"]]:
        options = {"extra_headers": {"Authorization": openai.Omit()}}
        async with session(websocket_connection_options={"subprotocols": protocols}, **options) as talk:
            same(talk.connection._connection.subprotocol, "realtime")


async def run():
    failed = 0
    for function in checks:
        try:
            await function()
            print(f"ok      {function.__doc__}", flush=True)
        except Exception as error:  # One failed check must not hide the others.
            failed += 1
            print(f"FAILED  {function.__doc__}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(checks) - failed} of {len(checks)} checks passed ({args.base_url}, openai {openai.__version__})")
    return failed


sys.exit(1 if asyncio.run(run()) else 0)
