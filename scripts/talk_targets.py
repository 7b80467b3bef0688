#!/usr/bin/env python3
"""How spoken conversation does against its targets, on this machine, by a fresh server and a scripted language model for each part.

    scripts/talk_targets.py                      # all parts
    scripts/talk_targets.py reply silence --interruptions 100 --json talk.json

ready    from the first byte of a connection to session.created, while 20 others talk
reply    from the end of a turn to the first sound of the reply, less what is not ours: the time until the language model really
         had sent the first phrase, and what that phrase takes to be spoken on the idle server; one speaker, and eight
voice    from a phrase to its first sound, of espeak-ng, by /v1/audio/speech
silence  random interruptions: from speech_started to the last sound of the reply, sound that comes after it, and until the
         request upstream is closed
warm     a language model that has to load: its first reply after the server is ready, and the tenth

What is measured is measured here, by a client on the same machine, which takes its share of the processors. Needs
target/python (scripts/test-tools.sh) or the `websockets` package, espeak-ng, and `make build`. Exits with 1 when a
target was missed.
"""
import argparse
import asyncio
import contextlib
import http.client
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import sys
import time

import websockets

import running
import scoring
from awake import awake
from live_targets import Table
from official_clients.recordings import RECORDINGS, pcm
from resampling import at_24_khz
from talking import AUDIO, COMPLETED, CREATED, DONE, RATE, STARTED, WORDS, Raw

sys.path.append(str(running.ROOT / "scripts/compare"))
import machine  # noqa: E402

COMMITTED = "input_audio_buffer.committed"
TEXT_DELTA = "response.output_text.delta"
TALKERS = 20
SHORT_REPLY = "Of course, I will do that. It takes only a moment."
LONG_REPLY = " ".join(f"Sentence {word} is rather long, so that there is time to interrupt it." for word in ("one", "two", "three", "four", "five"))


def rows(count):
    """Recordings of one sentence that the demo model reads to the letter: their texts, and their sound."""
    fitting = [row for row in scoring.recordings(RECORDINGS, "reliable.tsv") if row["kind"] == "seen-voice"]
    return [(row["text"], at_24_khz(pcm(row["path"]))) for row in fitting[:count]]


def quantile(values, share):
    """The smallest value that so large a share of them does not exceed."""
    return sorted(values)[max(0, -(-len(values) * share // 100) - 1)] if values else None


def told(values):
    """p50 and p95 in ms."""
    return f"p50 {1000 * quantile(values, 50):.1f} ms, p95 {1000 * quantile(values, 95):.1f} ms, {len(values)} times"


def p95_at_most(table, part, target, values, limit):
    """A row about times in seconds, of which 95 % are to be within a limit in ms."""
    worst = 1000 * quantile(values, 95) if values else None
    table.at_most(part, target, worst, limit, "p95 {:.1f} ms" + (f" (p50 {1000 * quantile(values, 50):.1f} ms, {len(values)} times)" if values else ""))


@contextlib.contextmanager
def servers(args, *llm_flags, flags=()):
    """Stenopool and who replies: their addresses."""
    with running.scripted_llm("--keep", 4_000, *llm_flags) as llm:
        with running.server(args.binary, "--llm-url", f"http://{llm}/v1", "--tts", "espeak", *flags) as address:
            yield address, llm


async def chat(address, row, turns, pause=0.5):
    """Says something so many times, and listens to each reply; gives what was told."""
    text, sound = row
    async with Raw.connected(address) as talker:
        for _ in range(turns):
            await asyncio.sleep(random.uniform(pause, 2 * pause))
            since = len(talker.told)
            talker.say(sound)
            await talker.next(DONE, since=since)
            await talker.quiet()
        return text, talker.told


# ready


def talk_for_ever(address, number):
    """Many people who talk, in a process of their own."""

    async def talk():
        await asyncio.gather(*(chat(address, row, 1 << 20) for row in rows(number)))

    asyncio.run(talk())


async def time_to_ready(address):
    begin = time.monotonic()
    async with websockets.connect(f"ws://{address}/v1/realtime?model=gpt-realtime", compression=None) as connection:
        opened = time.monotonic()
        assert json.loads(await connection.recv())["type"] == "session.created"
        return time.monotonic() - begin, time.monotonic() - opened


async def times_to_ready(address, count):
    times = []
    for _ in range(count):
        times.append(await time_to_ready(address))
        await asyncio.sleep(0.05)
    return times


def ready(args, table):
    with servers(args, "--reply", SHORT_REPLY) as (address, _):
        crowd = multiprocessing.Process(target=talk_for_ever, args=(address, TALKERS), daemon=True)
        crowd.start()
        while running.pool(address)["sessions"]["connected"] < TALKERS:
            time.sleep(0.1)
        time.sleep(5)
        times = asyncio.run(times_to_ready(address, args.connections))
        crowd.terminate()
        crowd.join()
    print(f"note: the handshake took {told([whole - after for whole, after in times])}; after it {told([after for _, after in times])}")
    p95_at_most(table, "ready to talk", f"connecting to session.created, {TALKERS} talk, p95 ≤ 20 ms", [whole for whole, _ in times], 20)


# reply


def spoken_within(address, text, voice=None):
    """How long the first sound of a phrase takes by itself, in seconds."""
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.connect()
    body = {"model": "tts-1", "input": text, "voice": voice or "alloy", "response_format": "pcm"}
    begin = time.monotonic()
    connection.request("POST", "/v1/audio/speech", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read(1)
    took = time.monotonic() - begin
    answer.read()
    connection.close()
    return took


def stations(told, log, synthesis):
    """Of each turn: what came when, in seconds from `committed`; what of it is not ours; and what the server says of it."""
    turns = []
    for at, event in told:
        if event["type"] != COMMITTED:
            continue
        place = told.index((at, event))
        after = told[place:]
        began = next((one for _, one in after if one["type"] == CREATED), None)
        if began is None:
            continue
        own = [(when, one) for when, one in after if one.get("response_id") == began["response"]["id"]]
        sound = next((when for when, one in own if one["type"] == AUDIO), None)
        phrase = next((one["delta"] for _, one in own if one["type"] == WORDS), None)
        text = next((one["transcript"] for _, one in after if one["type"] == COMPLETED and one["item_id"] == event["item_id"]), None)
        done = next((one["response"] for _, one in after if one["type"] == DONE and one["response"]["id"] == began["response"]["id"]), None)
        asked = [entry for entry in log if entry["said"] == text and at - 1 < entry["arrived"] < (sound or 0)]
        if not (sound and phrase and done and asked):
            continue
        entry = asked[-1]
        written = entry["sent_at"][len(phrase.split()) - 1]
        turns.append({
            "ours": entry["arrived"] - at + sound - written - synthesis,
            "until_asked": entry["arrived"] - at,
            "writing": written - entry["arrived"],
            "after_phrase": sound - written,
            "whole": sound - at,
            "pool": done.get("pool"),
        })
    return turns


async def chats(address, crowd, turns):
    return await asyncio.gather(*(chat(address, row, turns) for row in crowd))


def reply(args, table):
    for number in args.speakers:
        with servers(args, "--reply", SHORT_REPLY, "--first-token", 200, "--rate", 30) as (address, llm):
            asyncio.run(chats(address, rows(1), 1))
            first = first_phrase(address)
            synthesis = statistics.median(spoken_within(address, first) for _ in range(20))
            talks = asyncio.run(chats(address, rows(number), args.turns))
            log = running.stats(llm)["log"]
        turns = [turn for _, heard in talks for turn in stations(heard, log, synthesis)]
        part = f"{number} speaker{'s' * (number > 1)}"
        if len(turns) < number * args.turns:
            print(f"note: {number * args.turns - len(turns)} of {number * args.turns} turns had no reply that can be measured")
        show(turns, synthesis, first)
        p95_at_most(table, part, "end of turn to first sound, less model and voice, p95 ≤ 30 ms", [turn["ours"] for turn in turns], 30)


def first_phrase(address):
    """Where the reply is cut for the first time."""

    async def ask():
        async with Raw.connected(address, microphone=False) as talker:
            await talker.write("Hello.")
            _, event = await talker.next(WORDS)
            return event["delta"].strip()

    return asyncio.run(ask())


def show(turns, synthesis, phrase):
    """Where the time went."""
    if not turns:
        return
    names = {"until_asked": "committed to the request upstream", "writing": "request to the first phrase, as it was sent", "after_phrase": "first phrase to first sound", "whole": "committed to first sound"}
    for key, name in names.items():
        print(f"     {name}: {told([turn[key] for turn in turns])}")
    for turn in sorted(turns, key=lambda turn: -turn["ours"])[:3]:
        print(f"     one of the worst: {', '.join(f'{key} {1000 * turn[key]:.0f} ms' for key in ('ours', *names))}; {turn['pool']}")
    print(f"     “{phrase}” by itself: {1000 * synthesis:.1f} ms")
    for name in turns[0]["pool"] or ():
        values = [turn["pool"][name] / 1000 for turn in turns if turn["pool"] and turn["pool"][name] is not None]
        if values:
            print(f"     as the server has it, {name.removesuffix('_ms').replace('_', ' ')}: {told(values)}")


# voice


def voice(args, table):
    phrases = ["Sure.", "Of course, I will do that.", "The next train to Dublin leaves at ten past eight.", "It is one hundred and forty.", "Yes, both curtains are open."]
    with servers(args, "--reply", SHORT_REPLY) as (address, _):
        times = [spoken_within(address, phrase) for _ in range(args.turns) for phrase in phrases]
        count = running.metric(address, 'stenopool_tts_first_audio_seconds_count{engine="espeak-ng"}')
        mean = running.metric(address, 'stenopool_tts_first_audio_seconds_sum{engine="espeak-ng"}') / count if count else 0.0
    print(f"note: {1000 * mean:.1f} ms on average by /metrics")
    p95_at_most(table, "espeak-ng", "a phrase to its first sound, p95 ≤ 60 ms", times, 60)


# silence


class Interruptions:
    """What was measured of all."""

    def __init__(self, wanted):
        self.wanted, self.silent, self.done, self.guard = wanted, [], [], []
        self.stale, self.without_sound = 0, 0
        self.upstream = []

    def note(self, talker, since, spoke):
        """Looks at one that has ended; `spoke`: when the person began to speak."""
        heard = talker.told[since:]
        started = next(((n, at) for n, (at, event) in enumerate(heard) if event["type"] == STARTED), None)
        created = [event["response"]["id"] for at, event in talker.told[: since + started[0]] if event["type"] == CREATED] if started else []
        if not created:
            return
        place, at = started
        response = created[-1]
        done = next(((when, event) for when, event in heard[place:] if event["type"] == DONE and event["response"]["id"] == response), None)
        if done is None:
            return
        late = [when for when, event in heard[place:] if event["type"] in (AUDIO, WORDS) and event["response_id"] == response]
        self.stale += len(late)
        self.silent.append(max(late, default=at) - at)
        self.done.append(done[0] - at)
        self.guard.append(at - spoke)
        self.without_sound += not any(event["type"] == AUDIO and event["response_id"] == response for _, event in talker.told)
        self.upstream.append(at)
        if len(self.silent) % 100 == 0:
            print(f"     {len(self.silent)} of {self.wanted}", flush=True)


async def interrupt_for_ever(address, crowd, found, chance):
    """Lets a reply begin, and speaks into it, until there were enough of those."""
    input_audio = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}
    async with Raw.connected(address, audio={"input": input_audio}) as talker:
        await talker.write("Begin.")
        await talker.next(CREATED)
        while len(found.silent) < found.wanted:
            await asyncio.sleep(chance.uniform(0.0, 2.0))
            since, sound = len(talker.told), chance.choice(crowd)[1]
            spoke = time.monotonic()
            talker.say(sound)
            await talker.next(STARTED, since=since)
            if not await began_again(talker, since):
                await talker.write("Begin again.")
                await talker.next(CREATED, since=since)
            found.note(talker, since, spoke)
            # What was told long ago is not looked at any more, but for the reply that runs.
            talker.audio.clear()


async def began_again(talker, since):
    """Whether there was a reply to what was said last, within a while."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(talker.next(CREATED, since=since), 12)
        return True
    return False


async def interruptions(address, args, found):
    crowd = rows(10)
    people = [interrupt_for_ever(address, crowd, found, random.Random(number)) for number in range(args.people)]
    await asyncio.gather(*people)


def silence(args, table):
    found = Interruptions(args.interruptions)
    with servers(args, "--reply", LONG_REPLY, "--first-token", 600, "--rate", 20) as (address, llm):
        asyncio.run(interruptions(address, args, found))
        time.sleep(1)
        told_by_llm, pool = running.stats(llm), running.pool(address)
        closed = [entry["over_at"] for entry in told_by_llm["log"] if entry["outcome"] == "cancelled"]
    print(f"note: {len(found.silent)} interruptions by {args.people} people, {found.without_sound} before the first sound")
    print(f"     from the first sample of the person to speech_started: {told(found.guard)}")
    print(f"     from speech_started to response.done: {told(found.done)}")
    print(f"     requests that were closed upstream: {len(closed)}; after speech_started: {told(closings(found.upstream, closed))}")
    part = f"{len(found.silent)} interruptions"
    p95_at_most(table, part, "speech_started to silence, p95 ≤ 50 ms", found.silent, 50)
    p95_at_most(table, part, "speech_started to response.done, p95 ≤ 50 ms", found.done, 50)
    table.at_most(part, "sound or words of the reply after speech_started: 0", found.stale, 0, "{}")
    table.at_most(part, "requests that stay open upstream: 0", told_by_llm["open"], 0, "{}")
    table.at_most(part, "sessions and slots that stay behind: 0", pool["sessions"]["connected"] + pool["slots"]["leased"], 0, "{}")


def closings(starts, closed):
    """How long after each speech_started a request was closed, where one was within a second of it."""
    distances = (min((over - at for over in closed if abs(over - at) < 1), key=abs, default=None) for at in starts)
    return [distance for distance in distances if distance is not None] or [0.0]


# warm


async def text_replies(address, count):
    """How long the first words of each of some replies in writing took."""
    times = []
    async with Raw.connected(address, microphone=False, output_modalities=["text"]) as talker:
        for number in range(count):
            since, begin = len(talker.told), time.monotonic()
            await talker.write(f"This is number {number}.")
            at, _ = await talker.next(TEXT_DELTA, since=since)
            times.append(at - begin)
            await talker.next(DONE, since=since)
    return times


def warm(args, table):
    firsts, tenths = [], []
    for _ in range(args.starts):
        with servers(args, "--load", 2_000, "--first-token", 20, "--rate", 200) as (address, llm):
            times = asyncio.run(text_replies(address, 10))
            entries = running.stats(llm)["log"]
            took = running.metric(address, "stenopool_llm_warm_up_seconds")
        firsts.append(times[0])
        tenths.append(times[9])
        on = "the connection of the warm-up" if entries[0]["connection"] == entries[1]["connection"] else "a new connection"
        print(f"     first {1000 * times[0]:.1f} ms on {on}, tenth {1000 * times[9]:.1f} ms, others {1000 * statistics.median(times[1:9]):.1f} ms; warm-up {took:.2f} s")
    slower = 1000 * (statistics.median(firsts) - statistics.median(tenths))
    form = f"{{:+.1f}} ms (medians of {args.starts} starts: {1000 * statistics.median(firsts):.1f} and {1000 * statistics.median(tenths):.1f} ms; loading takes 2000 ms)"
    table.at_most("warm", "the first reply is no slower than the tenth (within 3 ms)", slower, 3, form)


PARTS = {part.__name__: part for part in (ready, reply, voice, silence, warm)}


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} [all]")
    parser.add_argument("--binary", type=pathlib.Path, default=running.BINARY, help="[STENOPOOL_BIN or target/release/stenopool]")
    parser.add_argument("--connections", type=int, default=200, help="ready: how many [%(default)s]")
    parser.add_argument("--turns", type=int, default=20, help="reply: of each speaker; voice: of each phrase [%(default)s]")
    parser.add_argument("--speakers", type=lambda text: [int(each) for each in text.split(",")], default=[1, 8], help="reply: how many at once [1,8]")
    parser.add_argument("--interruptions", type=int, default=1_000, help="silence: how many [%(default)s]")
    parser.add_argument("--people", type=int, default=8, help="silence: by how many sessions at once [%(default)s]")
    parser.add_argument("--starts", type=int, default=5, help="warm: of the server [%(default)s]")
    parser.add_argument("--json", type=pathlib.Path, help="write what was measured")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    if not args.binary.exists():
        sys.exit(f"error: there is no {args.binary}\nhint: make build")
    return args


def main():
    args, table = parsed(), Table()
    head = f"{machine.processor()}, {os.cpu_count()} cores, stenopool {machine.version(args.binary)}"
    print(head, flush=True)
    with awake(sorted(os.sched_getaffinity(0))):
        for name in args.parts or PARTS:
            PARTS[name](args, table)
    print(f"\n{table.markdown(head)}")
    if args.json:
        args.json.write_text(json.dumps({"machine": head, "rows": table.rows}, indent=1, ensure_ascii=False) + "\n")
    sys.exit(0 if all(row["good"] for row in table.rows) else 1)


if __name__ == "__main__":
    main()
