"""One side of a spoken conversation over /v1/realtime: a microphone that is always on, a loudspeaker, and what was told.

`Talker` leaves open how events are sent and received; `Raw` does that with the `websockets` package.
"""
import asyncio
import base64
import contextlib
import json
import time

import websockets

RATE = 24_000
PIECE_SECONDS = 0.02
PATIENCE_SECONDS = 30.0

STARTED = "input_audio_buffer.speech_started"
COMPLETED = "conversation.item.input_audio_transcription.completed"
CREATED, DONE = "response.created", "response.done"
AUDIO, WORDS = "response.output_audio.delta", "response.output_audio_transcript.delta"
TRUNCATED = "conversation.item.truncated"


class Loudspeaker:
    """Plays what it gets as soon as it can, one after the other, and keeps what was heard on one time line."""

    def __init__(self, begin):
        self.begin, self.track, self.pieces = begin, bytearray(), {}

    def now(self):
        """The place on the time line, in samples."""
        return round((time.monotonic() - self.begin) * RATE)

    def play(self, item, pcm):
        # Where it is in another format it is only counted.
        pcm = pcm[: len(pcm) // 2 * 2]
        start = max(self.now(), len(self.track) // 2)
        self.track += bytes(2 * start - len(self.track)) + pcm
        self.pieces.setdefault(item, []).append((start, len(pcm) // 2))

    def stop(self):
        """Forgets what was not played yet."""
        del self.track[2 * self.now() :]

    def is_playing(self):
        return len(self.track) // 2 > self.now()

    def heard(self, item):
        """How much of an item was played, in seconds."""
        until = min(self.now(), len(self.track) // 2)
        return sum(min(length, max(0, until - start)) for start, length in self.pieces.get(item, ())) / RATE


class Talker:
    """Speaks, listens, and keeps everything that is told, each with its time."""

    def __init__(self):
        self.began = time.monotonic()
        self.told, self.news = [], asyncio.Event()
        self.speaker = Loudspeaker(self.began)
        # What was said so far, and what is to be said next.
        self.microphone, self.lips = bytearray(), bytearray()
        self.audio = {}
        self.tasks = []

    async def send(self, event):
        raise NotImplementedError

    async def receive(self):
        """The next event, as a dictionary."""
        raise NotImplementedError

    async def send_audio(self, pcm):
        await self.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()})

    @contextlib.asynccontextmanager
    async def talking(self):
        """Listens, and has the microphone on, for as long as this lasts."""
        self.tasks = [asyncio.create_task(task) for task in (self.listen(), self.record())]
        try:
            yield self
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def listen(self):
        while True:
            event = await self.receive()
            self.take(time.monotonic(), event)
            self.news.set()

    def take(self, at, event):
        kind = event["type"]
        if kind == AUDIO:
            pcm = base64.b64decode(event["delta"])
            self.audio.setdefault(event["item_id"], []).append(pcm)
            self.speaker.play(event["item_id"], pcm)
            # What a long conversation sounds like is kept once.
            event = {**event, "delta": len(pcm)}
        elif kind == STARTED:
            event = {**event, "heard": {item: self.speaker.heard(item) for item in self.speaker.pieces}}
            self.speaker.stop()
        self.told.append((at, event))

    async def record(self):
        step = 2 * round(RATE * PIECE_SECONDS)
        for number in range(1, 1 << 40):
            await asyncio.sleep(max(0.0, self.began + number * PIECE_SECONDS - time.monotonic()))
            piece = bytes(self.lips[:step]).ljust(step, b"\0")
            del self.lips[:step]
            self.microphone += piece
            await self.send_audio(piece)

    def say(self, pcm):
        """Says something from now on, instead of what was about to be said; the end of it on the clock, in seconds."""
        self.lips[:] = pcm
        return time.monotonic() + len(pcm) / 2 / RATE

    def events(self, *kinds, since=0):
        return [(at, event) for at, event in self.told[since:] if event["type"] in kinds]

    async def until(self, claim):
        """Waits until something is true of what was told; gives that."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := claim()):
                for task in self.tasks:
                    if task.done():
                        task.result()
                self.news.clear()
                await self.news.wait()
            return found

    async def next(self, *kinds, since=0, where=lambda event: True):
        """The first event of these types that was or will be told after the first `since`, with its time."""
        found = lambda: [pair for pair in self.events(*kinds, since=since) if where(pair[1])]
        return (await self.until(found))[0]

    async def quiet(self):
        """Waits until nothing plays any more."""
        while self.speaker.is_playing():
            await asyncio.sleep(len(self.speaker.track) / 2 / RATE - self.speaker.now() / RATE + 0.001)

    async def write(self, text, **response):
        """Says something in writing, and wants a reply to it."""
        content = [{"type": "input_text", "text": text}]
        await self.send({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}})
        await self.send({"type": "response.create", "response": response})


class Raw(Talker):
    """Over a plain WebSocket: cheap enough to have many of."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, address, microphone=True, **session):
        """A conversation whose session was set."""
        async with websockets.connect(f"ws://{address}/v1/realtime?model=gpt-realtime", max_size=None, compression=None) as connection:
            talker = cls(connection)
            if not microphone:
                talker.record = asyncio.Event().wait
            async with talker.talking():
                await talker.send({"type": "session.update", "session": {"type": "realtime", **session}})
                await talker.next("session.updated")
                yield talker

    async def send(self, event):
        await self.connection.send(json.dumps(event))

    async def send_audio(self, pcm):
        await self.connection.send(pcm)

    async def receive(self):
        return json.loads(await self.connection.recv())
