#!/usr/bin/env python3
"""A spoken conversation of six turns, held by the unmodified `openai` package (PyPI), to check it and to listen to it.

    scripts/converse.py [--two] [--short] [--wav talk.wav]     # with servers of its own: Stenopool with the demo model and espeak-ng,
                                                     # and a scripted language model
    scripts/converse.py --url http://127.0.0.1:8080/v1 [--key KEY]     # with a running server and whoever replies there

Somebody who is a recording speaks in real time, with the microphone always on: a question; one whose reply is
interrupted; what it was interrupted with; a question in writing; one that needs a function; and one more. Checked are the
types and the order of all events, what was understood and replied, that an interrupted reply falls silent at once and is
closed upstream, that the language model is shown what was heard and no more, and that each phrase sounds as
/v1/audio/speech says it. With --url it is only known that the protocol is kept. With --two two people talk at the same
time, in other words, to other voices, and nothing of one may reach the other. With --short the last turn is left out.

What both sides sounded like is written as a stereo file: the person on the left, the assistant on the right, on one time
line, as somebody heard it who listened. Needs target/python (scripts/test-tools.sh) or `pip install 'openai[realtime]'`,
and espeak-ng. Exits with 1 when something was not as it should be.
"""
import argparse
import array
import asyncio
import base64
import contextlib
import dataclasses
import json
import pathlib
import re
import sys
import tempfile
import typing
import wave

import openai

import running
import scoring
from official_clients.recordings import RECORDINGS, pcm
from resampling import at_24_khz
from running import check
from talking import AUDIO, COMPLETED, CREATED, DONE, PIECE_SECONDS, RATE, STARTED, TRUNCATED, WORDS, Talker

TOOL = {
    "type": "function",
    "name": "look_up",
    "description": "Looks something up.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
ARGUMENTS = {"city": "Paris"}
TRANSCRIBED = {"model": "whisper-1", "language": "en"}

# Letters for the events of a reply, and the orders that OpenAI has them in.
LETTERS = {
    CREATED: "C",
    "response.output_item.added": "O",
    "conversation.item.added": "I",
    "response.content_part.added": "P",
    WORDS: "w",
    AUDIO: "a",
    "response.output_audio.done": "A",
    "response.output_audio_transcript.done": "W",
    "response.output_text.delta": "t",
    "response.output_text.done": "T",
    "response.content_part.done": "p",
    "response.function_call_arguments.delta": "f",
    "response.function_call_arguments.done": "F",
    "conversation.item.done": "i",
    "response.output_item.done": "o",
    DONE: "D",
}
ORDER = re.compile("C(OIP(w[wa]*)?AWpio|OIPt*Tpio|OIf*Fio)*D")
SAID = [STARTED, "input_audio_buffer.speech_stopped", "input_audio_buffer.committed", "conversation.item.added", "conversation.item.done", COMPLETED]

# How long after speech_started a request upstream may still be open: 50 ms, and what the messages take.
CLOSED_SECONDS = 0.1
# How far the server's idea of what was played may lie from what was.
HEARD_SECONDS = 0.15


@dataclasses.dataclass
class Scene:
    """What one person says, and is told."""

    name: str
    voice: str
    # Of the spoken turns: the second is long in its reply, the third interrupts that, the fourth needs the function. There
    # may be a fifth.
    files: list
    replies: list
    written: str
    written_reply: str
    found: str

    def __post_init__(self):
        texts = {row["file"]: row["text"] for row in scoring.recordings(RECORDINGS, "reliable.tsv")}
        self.texts = [texts[file] for file in self.files]
        self.sounds = [at_24_khz(pcm(RECORDINGS / file)) for file in self.files]
        self.instructions = f"You are {self.name}'s assistant. Be brief."

    def script(self):
        """The replies by what they reply to."""
        return {**dict(zip(self.texts, self.replies)), self.written: self.written_reply}

    def expected(self):
        """The texts of all replies; None where a function is called."""
        return [*self.replies[:3], self.written_reply, None, f"The function says: {self.found}", *self.replies[4:]]


ONE = {
    "name": "Anna",
    "voice": "en-us",
    "files": [f"seen-voice-{n:03}.wav" for n in (0, 9, 16, 19, 11)],
    "replies": [
        "Sure, a timer for fifteen minutes is running now.",
        "There are several, and I will read all of them to you. The first one leaves at ten past eight in the morning. The second one "
        "leaves at noon, and it is the fastest of them all. The third one leaves in the evening, at half past seven. The last one leaves "
        "at midnight, and it takes the whole night. Shall I book a seat for you?",
        "Of course, to Berlin then. I have found a way there.",
        "mode=tools",
        "It is one hundred and forty. Anything else?",
    ],
    "written": "Which city were we talking about?",
    "written_reply": "We were talking about Berlin, the capital of Germany.",
    "found": "forty-five numbers",
}
TWO = {
    "name": "Bertram",
    "voice": "en-gb-scotland",
    "files": [f"seen-voice-{n:03}.wav" for n in (7, 20, 15, 13, 18)],
    "replies": [
        "Yes, both curtains are wide open.",
        "Peter has quite a few phones, so please take a pencil. At home you reach him under seven seven three. In his office it is nine two "
        "eight, but never before lunch. In the workshop nobody picks up, so do not even try. On the boat there is only a radio. That was "
        "everything from my notebook.",
        "Okay, I remind you of your call with Mary.",
        "mode=tools",
        "Water is coming, with ice and lemon.",
    ],
    "written": "Who was it that you told me of?",
    "written_reply": "I told you of Peter, who owns a boat.",
    "found": "silent speakers everywhere",
}


class Person(Talker):
    """Talks through the official client, and holds every event against its type."""

    def __init__(self, connection):
        super().__init__()
        self.connection, self.names = connection, set()

    async def send(self, event):
        await self.connection.send(event)

    async def send_audio(self, pcm):
        # As the package's own examples do it.
        await self.connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    async def receive(self):
        event = await self.connection.recv()
        told = event.to_dict()
        assert told["event_id"] not in self.names, f"an old name: {told}"
        self.names.add(told["event_id"])
        if not told["type"].startswith("pool."):
            known = typing.get_args(type(event).model_fields["type"].annotation)
            assert told["type"] in known, f"{told['type']} became a {type(event).__name__}"
            # The package itself takes what lacks fields.
            type(event).model_validate(told)
        return told

    async def replied(self, since):
        """The end of the next reply, once it was heard."""
        _, done = await self.next(DONE, since=since)
        await self.quiet()
        return done["response"]

    async def ask(self, sound):
        """Says something; gives the reply to it."""
        since = len(self.told)
        self.say(sound)
        return await self.replied(since)

    async def interrupt(self, asked, after, sound):
        """Asks, and speaks after so many seconds of the reply; gives both replies."""
        since = len(self.told)
        self.say(asked)
        _, delta = await self.next(AUDIO, since=since)
        # A reply that is shorter than that is not interrupted.
        while self.speaker.heard(delta["item_id"]) < after and (self.speaker.is_playing() or not self.events(DONE, since=since)):
            await asyncio.sleep(PIECE_SECONDS)
        self.say(sound)
        _, interrupted = await self.next(DONE, since=since)
        following = await self.replied(len(self.told))
        return interrupted["response"], following


async def hold(person, scene, own):
    """The six turns."""
    await person.next("session.created")
    audio = {"input": {"transcription": TRANSCRIBED}, "output": {"voice": scene.voice} if own else {}}
    await person.send({"type": "session.update", "session": {"type": "realtime", "instructions": scene.instructions, "tools": [TOOL], "audio": audio}})
    await person.next("session.updated")
    first, asked, instead, needing, *last = scene.sounds
    replies = [await person.ask(first)]
    replies += await person.interrupt(asked, 4.0 if own else 1.0, instead)
    since = len(person.told)
    await person.write(scene.written)
    replies.append(await person.replied(since))
    replies.append(await person.ask(needing))
    calls = [item for item in replies[-1]["output"] if item["type"] == "function_call"]
    if calls:
        since = len(person.told)
        output = {"type": "function_call_output", "call_id": calls[0]["call_id"], "output": scene.found}
        await person.send({"type": "conversation.item.create", "item": output})
        await person.send({"type": "response.create"})
        replies.append(await person.replied(since))
    for sound in last:
        replies.append(await person.ask(sound))
    return replies


async def talk(scene, args, base_url, own):
    """Holds the conversation; gives the person who did, and the replies."""
    websocket = "ws" + base_url.removeprefix("http")
    client = openai.AsyncOpenAI(base_url=base_url, websocket_base_url=websocket, api_key=args.key or "none", max_retries=0)
    async with client.realtime.connect(model=args.model) as connection:
        person = Person(connection)
        async with person.talking():
            replies = await hold(person, scene, own)
            await asyncio.sleep(0.3)
    return person, replies


def of_reply(person, response_id):
    """The events of one reply, in order."""
    items = {event["item"]["id"] for _, event in person.events("response.output_item.added") if event["response_id"] == response_id}

    def belongs(event):
        if event["type"] in (CREATED, DONE):
            return event["response"]["id"] == response_id
        if event["type"] in ("conversation.item.added", "conversation.item.done"):
            return event["item"]["id"] in items
        return event.get("response_id") == response_id

    return [(at, event) for at, event in person.told if event["type"] in LETTERS and belongs(event)]


def check_orders(person):
    """Every reply and everything that was said is told in OpenAI's order."""
    orders = ["".join(LETTERS[event["type"]] for _, event in of_reply(person, event["response"]["id"])) for _, event in person.events(CREATED)]
    wrong = [order for order in orders if not ORDER.fullmatch(order)]
    shown = " ".join(re.sub(r"[wa]{2,}", "…", order) for order in wrong or orders)
    check("the events of every reply are in OpenAI's order", orders and not wrong, shown)
    for _, event in person.events(STARTED):
        item = event["item_id"]
        kinds = [told["type"] for _, told in person.told if item in (told.get("item_id"), told.get("item", {}).get("id")) and told["type"] in SAID]
        if kinds != SAID:
            check("the events of what was said are in OpenAI's order", False, ", ".join(kinds))
    errors = [event["error"] for _, event in person.events("error")]
    check("there was no error", not errors, str(errors) if errors else "")


def check_silence(person):
    """An interrupted reply is silent after speech_started; gives how it was interrupted: (when, response, item, heard)."""
    stale, cuts = 0, []
    for at, event in person.events(STARTED):
        place = person.told.index((at, event))
        running_replies = {told["response"]["id"] for _, told in person.told[:place] if told["type"] == CREATED}
        running_replies -= {told["response"]["id"] for _, told in person.told[:place] if told["type"] == DONE}
        after = [told for _, told in person.told[place:] if told.get("response_id") in running_replies]
        stale += sum(told["type"] in (AUDIO, WORDS) for told in after)
        for response in running_replies:
            item = next((told["item_id"] for _, told in person.told[:place] if told["type"] == AUDIO and told["response_id"] == response), None)
            cuts.append((at, response, item, event["heard"].get(item, 0.0)))
    check("an interrupted reply is silent after speech_started", not stale, f"{stale} stale deltas, {len(cuts)} interruptions")
    return cuts


def check_words(person, scene, replies):
    """What was understood and what was replied is what was said."""
    heard = [event["transcript"] for _, event in person.events(COMPLETED)]
    check("what was understood is what was said", heard == scene.texts, "" if heard == scene.texts else str(heard))
    statuses = ["completed", "cancelled"] + ["completed"] * len(scene.texts)
    check("one reply was interrupted, the others were whole", [reply["status"] for reply in replies] == statuses, ", ".join(reply["status"] for reply in replies))
    for reply, text in zip(replies, scene.expected()):
        output = reply["output"][0]
        if text is None:
            right = output["type"] == "function_call" and output["name"] == TOOL["name"] and json.loads(output["arguments"]) == ARGUMENTS
            check("the function was called", right, "" if right else str(output))
            continue
        said = output["content"][0].get("transcript")
        right = said == text if reply["status"] == "completed" else text.startswith(said)
        if not right:
            check("what was replied is what the language model wrote", False, f"{said!r} instead of {text!r}")


def phrases(person, item):
    """The phrases of a spoken message: their text, and what of their sound came."""
    found = []
    for _, event in person.told:
        if event["type"] == WORDS and event["item_id"] == item:
            found.append([event["delta"], 0])
        elif event["type"] == AUDIO and event["item_id"] == item:
            found[-1][1] += event["delta"]
    return found


def until(spoken, heard):
    """What of phrases can have been heard in so many seconds: what surely was, and what began."""
    sure, begun, at = "", "", 0.0
    for text, size in spoken:
        begun += text if at < heard else ""
        at += size / 2 / RATE
        sure += text if at <= heard else ""
    return sure.strip(), begun.strip()


def check_upstream(person, scene, llm, cuts):
    """What the language model was shown, and whether its replies were closed."""
    told = running.stats(llm)
    log = [entry for entry in told["log"] if entry["said"] in (*scene.texts, scene.written)]
    check("no request is open upstream", told["open"] == 0, str(told["open"]))
    for at, _, item, heard in cuts:
        entry = next(entry for entry in log if entry["outcome"] == "cancelled" or entry["said"] == scene.texts[1])
        late = entry["over_at"] - at
        check("the interrupted request was closed upstream", entry["outcome"] == "cancelled" and late < CLOSED_SECONDS, f"{entry['outcome']}, {1000 * late:+.0f} ms after speech_started")
        cut = [event for _, event in person.events(TRUNCATED) if event["item_id"] == item]
        played = cut[0]["audio_end_ms"] / 1000 if cut else 0.0
        check("it was cut to what was heard", bool(cut) and abs(played - heard) < HEARD_SECONDS, f"{played:.2f} s, {heard:.2f} s played")
        check_history(person, scene, log[-1]["shown"], until(phrases(person, item), played))


def check_history(person, scene, shown, bounds):
    """The last request shows the whole conversation, and of what was interrupted what was heard."""
    call = next(event["item"] for _, event in person.events("response.output_item.done") if event["item"]["type"] == "function_call")
    roles = [(message["role"], text_of(message)) for message in shown["messages"]]
    cut = roles[4][1] if len(roles) > 4 else ""
    sure, begun = bounds
    fits = cut.startswith(sure) and begun.startswith(cut) and cut != scene.replies[1]
    check("the language model is shown what was heard of what was interrupted", fits, f"“…{cut[-50:]}”" if fits else f"{cut!r}, heard between {sure!r} and {begun!r}")
    last = [("assistant", f"The function says: {scene.found}"), *(("user", text) for text in scene.texts[4:])]
    expected = [
        ("system", scene.instructions),
        ("user", scene.texts[0]), ("assistant", scene.replies[0]),
        ("user", scene.texts[1]), ("assistant", cut),
        ("user", scene.texts[2]), ("assistant", scene.replies[2]),
        ("user", scene.written), ("assistant", scene.written_reply),
        ("user", scene.texts[3]), ("assistant", ""), ("tool", scene.found),
        *(last if scene.texts[4:] else []),
    ]
    check("the language model is shown the rest of the conversation as it was", roles == expected, "" if roles == expected else str(roles))
    calls = [(one["id"], one["function"]["name"]) for message in shown["messages"] for one in message.get("tool_calls") or ()]
    ids = [message["tool_call_id"] for message in shown["messages"] if message["role"] == "tool"]
    check("the call and what it gave belong together", calls == [(call["call_id"], TOOL["name"])] and ids == [call["call_id"]], str(calls))
    check("the function is offered", [tool["function"]["name"] for tool in shown.get("tools", ())] == [TOOL["name"]])


def text_of(message):
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def check_voice(person, scene, replies, address):
    """What was sent for each message is what the voice makes of its text by itself, or the beginning of that."""
    texts = {reply["output"][0]["id"]: text for reply, text in zip(replies, scene.expected()) if text}
    different = []
    for item, text in texts.items():
        came = b"".join(person.audio.get(item, ()))
        speech = {"model": "tts-1", "input": text, "voice": scene.voice, "response_format": "pcm"}
        alone = running.post(address, "/v1/audio/speech", speech)
        if not alike(came, alone):
            different.append(f"“{text}”: {len(came)} bytes, alone {len(alone)}")
    check("every reply sounds as its voice says it", not different, "; ".join(different) or f"{len(texts)} replies, {scene.voice}")


def alike(came, alone):
    """Whether samples are those of `alone`, or of its beginning, but for rounding."""
    pairs = list(zip(array.array("h", came), array.array("h", alone)))
    return bool(pairs) and len(came) <= len(alone) + 2 and max(abs(a - b) for a, b in pairs) <= 2


def check_apart(people, scenes):
    """Nothing of one conversation is in the other."""
    items = [{event["item"]["id"] for _, event in person.events("conversation.item.added")} for person in people]
    check("two conversations share no item", not items[0] & items[1], f"{len(items[0])} and {len(items[1])} items")
    for person, other in zip(people, reversed(scenes)):
        told = " ".join(str(event.get("transcript", event.get("delta", ""))) for _, event in person.told)
        foreign = [text for text in (*other.texts, *other.replies, other.written_reply, other.found) if text in told]
        check("nobody is told what another said or was told", not foreign, "; ".join(foreign))


def timeline(person):
    """What happened, line by line."""
    for at, event in person.told:
        told = line(event)
        if told:
            print(f"{at - person.began:8.3f}  {told}")


def line(event):
    kind = event["type"]
    if kind == STARTED:
        return "person     begins to speak"
    if kind == "input_audio_buffer.speech_stopped":
        return "person     stops"
    if kind == COMPLETED:
        return f"person     “{event['transcript']}”"
    if kind == "conversation.item.added" and event["item"].get("role") == "user" and event["item"]["content"][0]["type"] == "input_text":
        return f"person     writes “{event['item']['content'][0]['text']}”"
    if kind == WORDS:
        return f"assistant  “{event['delta'].strip()}”"
    if kind == "response.function_call_arguments.done":
        return f"assistant  calls {event['name']}({event['arguments']})"
    if kind == TRUNCATED:
        return f"assistant  is cut off after {event['audio_end_ms'] / 1000:.2f} s"
    if kind == DONE:
        return f"assistant  {event['response']['status']}{latency(event['response'].get('pool'))}"
    if kind == "error":
        return f"error      {event['error']['code']}: {event['error']['message']}"
    return None


def latency(stations):
    """Where the time of a reply went."""
    if not stations:
        return ""
    parts = [f"{name.removesuffix('_ms').replace('_', ' ')} {took}" for name, took in stations.items() if took is not None and name != "total_ms"]
    return f": {' + '.join(parts)} = {stations['total_ms']} ms to the first sound"


def write_wav(path, person):
    """The person on the left, the assistant on the right."""
    left, right = array.array("h", bytes(person.microphone)), array.array("h", bytes(person.speaker.track))
    length = max(len(left), len(right))
    for track in left, right:
        track.extend([0] * (length - len(track)))
    both = array.array("h", bytes(4 * length))
    both[0::2], both[1::2] = left, right
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(both.tobytes())
    print(f"  {path}: {length / RATE:.1f} s, the person on the left")


async def run(args, scenes, base_url, llm=None):
    """Has the conversations, shows them, and checks them."""
    talks = await asyncio.gather(*(talk(scene, args, base_url, llm is not None) for scene in scenes))
    for number, (scene, (person, replies)) in enumerate(zip(scenes, talks), 1):
        print(f"{scene.name}, {scene.voice}")
        timeline(person)
        cuts = check_silence(person)
        check_orders(person)
        if llm:
            check("one reply was interrupted", len(cuts) == 1)
            check_words(person, scene, replies)
            check_upstream(person, scene, llm, cuts)
            check_voice(person, scene, replies, base_url.removeprefix("http://").removesuffix("/v1"))
        wav = args.wav if len(scenes) == 1 else args.wav.with_stem(f"{args.wav.stem}-{number}")
        write_wav(wav, person)
    if len(scenes) == 2:
        check_apart([person for person, _ in talks], scenes)


@contextlib.contextmanager
def servers(args, scenes):
    """Stenopool, and a language model that says what the scenes have it say, token by token."""
    with tempfile.TemporaryDirectory() as folder:
        replies = pathlib.Path(folder) / "replies.json"
        replies.write_text(json.dumps({said: reply for scene in scenes for said, reply in scene.script().items()}))
        flags = ["--replies", replies, "--first-token", 150, "--rate", 9, "--keep", 100, "--arguments", json.dumps(ARGUMENTS)]
        with running.scripted_llm(*flags) as llm:
            with running.server(args.binary, "--llm-url", f"http://{llm}/v1", "--tts", "espeak") as address:
                yield f"http://{address}/v1", llm


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=running.BINARY, help="[STENOPOOL_BIN or target/release/stenopool]")
    parser.add_argument("--url", help="a running server, as in http://127.0.0.1:8080/v1")
    parser.add_argument("--key", help="its key, when it asks for one")
    parser.add_argument("--model", default="gpt-realtime")
    parser.add_argument("--two", action="store_true", help="two conversations at the same time")
    parser.add_argument("--short", action="store_true", help="without the last turn")
    parser.add_argument("--wav", type=pathlib.Path, default=pathlib.Path("converse.wav"), help="what it sounded like [%(default)s]")
    args = parser.parse_args()
    turns = slice(4 if args.short else None)
    scenes = [Scene(**{**scene, "files": scene["files"][turns], "replies": scene["replies"][turns]}) for scene in ([ONE, TWO] if args.two else [ONE])]
    if args.url:
        asyncio.run(run(args, scenes, args.url.rstrip("/")))
    else:
        with servers(args, scenes) as (base_url, llm):
            asyncio.run(run(args, scenes, base_url, llm))
    sys.exit(1 if check.failed else 0)


if __name__ == "__main__":
    main()
