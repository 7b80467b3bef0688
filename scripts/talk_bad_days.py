#!/usr/bin/env python3
"""What becomes of spoken conversations on bad days, and of everything a client can ask for, on servers of its own.

usage: talk_bad_days.py [--binary target/release/stenopool] [SCENE...]

scenes:
  model      the language model is down, slow, silent, cut off, stalls, sends garbage, pages, errors, 401, 429, 500: the reply
             fails with a code, the words stand, the session lives on, nothing stays open upstream
  vanish     clients disappear while a reply is spoken: upstream is closed within a second, no session, slot or thread stays
  deaf       a client stops reading while replies are spoken to it: others do not notice, and memory is bounded
  crowd      fifty people interrupt at the same time: all replies fall silent, nothing stays open
  events     a second response.create, response.cancel, output_audio_buffer.clear, conversation.item.truncate, with and without reason
  formats    G.711 and other rates, speed, voices that there are not, replies in writing
  manners    push-to-talk, create_response and interrupt_response false, no transcription, replies outside of the conversation
  beta       the names of OpenAI's beta

Needs the `websockets` package and espeak-ng. Exits with 1 when something is not as it should be.
"""
import argparse
import asyncio
import contextlib
import json
import pathlib
import sys
import time

import websockets

import running
from running import check
from talk_targets import rows
from talking import AUDIO, COMPLETED, CREATED, DONE, RATE, STARTED, TRUNCATED, WORDS, Raw

TEXT_DELTA, TEXT_DONE = "response.output_text.delta", "response.output_text.done"
SENTENCE = "This is one sentence of several, and it takes a while to say all of it."
REPLIES = " ".join([SENTENCE] * 6)
SHORT = "That is fine with me."


@contextlib.contextmanager
def servers(args, *llm_flags, flags=()):
    with running.scripted_llm("--keep", 1_000, *llm_flags) as llm:
        with running.server(args.binary, "--llm-url", f"http://{llm}/v1", "--tts", "espeak", *flags, log="error") as address:
            yield address, llm


def code(done):
    """The code of a reply that failed."""
    return ((done["response"]["status_details"] or {}).get("error") or {}).get("code")


async def replied(talker, text, **response):
    """The end of a reply to something in writing."""
    since = len(talker.told)
    await talker.write(text, **response)
    return (await talker.next(DONE, since=since))[1]


async def refused(talker, event):
    """The error that an event is answered with."""
    since = len(talker.told)
    await talker.send({**event, "event_id": "mine"})
    _, error = await talker.next("error", since=since)
    return error["error"]["code"] if error["error"].get("event_id") == "mine" else f"{error['error']['code']}, not by name"


async def closed_upstream(llm, within=1.0):
    """How long until no request is open any more."""
    begin = time.monotonic()
    while running.stats(llm)["open"]:
        if time.monotonic() - begin > within:
            return None
        await asyncio.sleep(0.01)
    return time.monotonic() - begin


MODES = {
    "down": "llm_unreachable llm_cut_off",
    "slow": None,
    "silent": "llm_first_token_timeout",
    "cut": "llm_cut_off",
    "end": "llm_cut_off",
    "stall": "llm_stalled",
    "garbage": "llm_garbage",
    "error": "llm_failed",
    "html": "llm_garbage",
    "401": "llm_unauthorized",
    "429": "llm_rate_limited",
    "500": "llm_refused",
}


async def model(args):
    for mode, codes in MODES.items():
        llm_flags = "--reply", SENTENCE, "--first-token", 50, "--rate", 50, "--after", 8, "--retry-after", 1
        with servers(args, *llm_flags, flags=("--llm-first-token-s", 2, "--llm-stall-s", 2)) as (address, llm):
            async with Raw.connected(address) as talker:
                [(text, sound)] = rows(1)
                running.post(llm, "/script", {"mode": mode})
                since, begin = len(talker.told), time.monotonic()
                talker.say(sound)
                _, done = await talker.next(DONE, since=since)
                took = time.monotonic() - begin - len(sound) / 2 / RATE
                _, heard = await talker.next(COMPLETED, since=since)
                running.post(llm, "/script", {"mode": "ok"})
                status = done["response"]["status"]
                right = status == "completed" if codes is None else status == "failed" and code(done) in codes.split()
                check(f"{mode}: the reply ends as it should", right, f"{status} {code(done) or ''} after {took:.1f} s")
                check(f"{mode}: the words stand", heard["transcript"] == text, "" if heard["transcript"] == text else str(heard))
                again, tries = None, 0
                while (again is None or again["response"]["status"] != "completed") and tries < 12:
                    again, tries = await replied(talker, "And now?"), tries + 1
                    await asyncio.sleep(1)
                check(f"{mode}: the next reply comes", again["response"]["status"] == "completed", f"at try {tries}, {code(again) or 'whole'}")
                check(f"{mode}: nothing is open upstream", await closed_upstream(llm) is not None)


def threads(address):
    return len(list(pathlib.Path(f"/proc/{address.pid}/task").iterdir()))


def memory(address):
    """Resident, in MiB."""
    status = pathlib.Path(f"/proc/{address.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


async def vanish_once(address):
    connection = await websockets.connect(f"ws://{address}/v1/realtime?model=gpt-realtime", max_size=None, compression=None)
    talker = Raw(connection)
    listening = asyncio.create_task(talker.listen())
    await talker.write("Go on and on.")
    await talker.next(AUDIO)
    listening.cancel()
    connection.transport.abort()


async def vanish(args):
    with servers(args, "--reply", REPLIES, "--first-token", 50, "--rate", 10) as (address, llm):
        await vanish_once(address)
        await asyncio.sleep(2)
        before, memory_before = threads(address), memory(address)
        worst = 0.0
        for _ in range(20):
            await vanish_once(address)
            took = await closed_upstream(llm, 5.0)
            worst = max(worst, 99.0 if took is None else took)
        check("upstream is closed within a second", worst < 1.0, f"{1000 * worst:.0f} ms at most")
        await asyncio.gather(*(vanish_once(address) for _ in range(30)))
        took = await closed_upstream(llm, 5.0)
        check("also when thirty vanish at once", took is not None and took < 1.0, str(took))
        begin = time.monotonic()
        while (pool := running.pool(address))["sessions"]["connected"] and time.monotonic() - begin < 10:
            await asyncio.sleep(0.05)
        check("no session stays", not pool["sessions"]["connected"] and not pool["slots"]["leased"], f"{time.monotonic() - begin:.1f} s, {pool['sessions']}")
        await asyncio.sleep(2)
        check("no thread stays", threads(address) <= before + 1, f"{before} before, {threads(address)} after 50")
        print(f"  note: {memory_before:.1f} MiB before, {memory(address):.1f} MiB after")


async def deaf(args):
    with servers(args, "--reply", " ".join([REPLIES] * 20), "--first-token", 50, "--rate", 2_000) as (address, llm):
        deaf_one = await websockets.connect(f"ws://{address}/v1/realtime?model=gpt-realtime", max_size=None, max_queue=1, compression=None, ping_interval=None)
        # What the first words take for good is not the deaf one's.
        async with Raw.connected(address) as other:
            other.say(rows(1)[0][1])
            await other.next(AUDIO)
        before = memory(address)
        talker = Raw(deaf_one)
        await talker.write("Go on and on.", instructions="x")
        begin, gone = time.monotonic(), None
        async with Raw.connected(address) as other:
            for _ in range(6):
                since = len(other.told)
                other.say(rows(1)[0][1])
                await other.next(CREATED, since=since)
                await other.next(AUDIO, since=since)
                await other.send({"type": "response.cancel"})
                await other.next(DONE, since=since)
                if gone is None and running.pool(address)["sessions"]["connected"] == 1:
                    gone = time.monotonic() - begin
            check("others are replied to", True)
        print(f"  note: the deaf client was {'kept' if gone is None else f'dropped after about {gone:.0f} s'}; {memory(address) - before:+.1f} MiB")
        deaf_one.transport.abort()
        check("nothing is open upstream when it is gone", await closed_upstream(llm) is not None)


async def crowd(args):
    people = 50
    with servers(args, "--reply", REPLIES, "--first-token", 50, "--rate", 10, flags=("--llm-concurrency", 128)) as (address, llm):
        before = threads(address)
        async with contextlib.AsyncExitStack() as stack:
            talkers = [await stack.enter_async_context(Raw.connected(address)) for _ in range(people)]
            for talker in talkers:
                await talker.write("Go on and on.")
            await asyncio.gather(*(talker.next(AUDIO) for talker in talkers))
            sound = rows(1)[0][1]
            for talker in talkers:
                talker.say(sound)
            ends = await asyncio.gather(*(talker.next(DONE) for talker in talkers), return_exceptions=True)
            wrong = [end for end in ends if isinstance(end, BaseException) or end[1]["response"]["status"] != "cancelled"]
            check("all replies are interrupted", not wrong, f"{people - len(wrong)} of {people}")
            late, stale = [], 0
            for talker in talkers:
                started, done = talker.events(STARTED), talker.events(DONE)
                if started and done:
                    late.append(done[0][0] - started[0][0])
                    first = done[0][1]["response"]["id"]
                    stale += sum(event["type"] in (AUDIO, WORDS) and event["response_id"] == first and at > started[0][0] for at, event in talker.told)
            check("and fall silent at once", not stale and max(late) < 0.05, f"{stale} stale, response.done {1000 * max(late):.0f} ms after speech_started at most")
            texts = await asyncio.gather(*(talker.next(COMPLETED) for talker in talkers), return_exceptions=True)
            wrong = [text for text in texts if isinstance(text, BaseException) or text[1]["transcript"] != rows(1)[0][0]]
            check("what they said is understood", not wrong, f"{people - len(wrong)} of {people}{wrong[:1] or ''}")
        check("nothing is open upstream when all have left", await closed_upstream(llm, 2.0) is not None)
        await asyncio.sleep(2)
        check("no thread stays", threads(address) <= before + 2, f"{before} before, {threads(address)} after")
        pool = running.pool(address)
        check("no session and no slot stays", not pool["sessions"]["connected"] and not pool["slots"]["leased"], str(pool["sessions"]))


async def events(args):
    with servers(args, "--reply", REPLIES, "--first-token", 50, "--rate", 10) as (address, llm):
        async with Raw.connected(address, microphone=False) as talker:
            found = await refused(talker, {"type": "response.cancel"})
            check("nothing to cancel", found == "response_cancel_not_active", found)
            found = await refused(talker, {"type": "output_audio_buffer.clear"})
            check("nothing to clear is refused or ignored", True, found)
            await talker.write("One.")
            _, created = await talker.next(CREATED)
            found = await refused(talker, {"type": "response.create"})
            check("a second reply is refused", found == "conversation_already_has_active_response", found)
            _, delta = await talker.next(AUDIO)
            found = await refused(talker, {"type": "response.cancel", "response_id": "resp_of_another"})
            check("another reply cannot be cancelled", found == "response_cancel_not_active", found)
            await talker.send({"type": "response.cancel", "response_id": created["response"]["id"]})
            _, done = await talker.next(DONE)
            check("a reply is cancelled", done["response"]["status_details"].get("reason") == "client_cancelled", str(done["response"]["status_details"]))
            check("upstream is closed", await closed_upstream(llm) is not None)

            since = len(talker.told)
            await talker.write("Two.")
            _, delta = await talker.next(AUDIO, since=since)
            await talker.send({"type": "output_audio_buffer.clear"})
            _, cleared = await talker.next("output_audio_buffer.cleared", since=since)
            _, done = await talker.next(DONE, since=since)
            later = len(talker.told)
            await asyncio.sleep(0.5)
            check("cleared sound stops", not talker.events(AUDIO, since=later) and cleared["response_id"] == delta["response_id"], done["response"]["status"])

            await talker.send({"type": "session.update", "session": {"type": "realtime", "instructions": "Now with another."}})
            since = len(talker.told)
            await talker.write("Three.")
            _, delta = await talker.next(AUDIO, since=since)
            await asyncio.sleep(2.5)
            await talker.send({"type": "response.cancel"})
            await talker.next(DONE, since=since)
            since = len(talker.told)
            truncate = {"type": "conversation.item.truncate", "item_id": delta["item_id"], "content_index": 0}
            await talker.send({**truncate, "audio_end_ms": 900})
            _, truncated = await talker.next(TRUNCATED, since=since)
            check("a client may cut a message shorter", truncated["audio_end_ms"] == 900)
            since = len(talker.told)
            await talker.send({"type": "conversation.item.retrieve", "item_id": delta["item_id"]})
            _, retrieved = await talker.next("conversation.item.retrieved", since=since)
            await talker.write("Four.")
            await talker.next(AUDIO, since=since)
            await talker.send({"type": "response.cancel"})
            await talker.next(DONE, since=since)
            shown = running.stats(llm)["log"][-1]["shown"]["messages"]
            cut = [message["content"] for message in shown if message["role"] == "assistant"][-1]
            check("the language model is shown so much", 0 < len(cut.split()) < 6, repr(cut))
            print(f"  note: retrieved: {retrieved['item']['content']}")
            found = await refused(talker, {**truncate, "audio_end_ms": 900_000})
            check("more than there is cannot be kept", "invalid" in found or "truncate" in found, found)
            found = await refused(talker, {**truncate, "item_id": "item_nowhere", "audio_end_ms": 0})
            check("an unknown item cannot be cut", "not_found" in found, found)
            check("nothing is open upstream", await closed_upstream(llm) is not None)


async def spoken(talker, text="Speak.", **session):
    """A whole reply in a session set like this: the number of bytes of its sound, and its end."""
    if session:
        since = len(talker.told)
        await talker.send({"type": "session.update", "session": {"type": "realtime", **session}})
        _, updated = await talker.next("session.updated", "error", since=since)
        if updated["type"] == "error":
            return updated["error"], None
    since = len(talker.told)
    done = await replied(talker, text)
    return sum(event["delta"] for _, event in talker.events(AUDIO, since=since)), done["response"]


async def formats(args):
    with servers(args, "--reply", SHORT, "--first-token", 10, "--rate", 500) as (address, _):
        async with Raw.connected(address, microphone=False) as talker:
            size, _ = await spoken(talker)
            seconds = size / 2 / RATE
            for kind, rate, width in ("audio/pcm", 8_000, 2), ("audio/pcm", 16_000, 2), ("audio/pcm", 48_000, 2), ("audio/pcmu", 8_000, 1), ("audio/pcma", 8_000, 1):
                form = {"type": kind, "rate": rate} if kind == "audio/pcm" else {"type": kind}
                size, response = await spoken(talker, audio={"output": {"format": form}})
                right = response and abs(size / width / rate - seconds) < 0.02 and response["audio"]["output"]["format"] == form
                check(f"{kind} at {rate}", right, f"{size / width / rate:.3f} s of {seconds:.3f} s, {response['audio']['output']}" if response else str(size))
            for rate in 7_999, 48_001, 0:
                error, response = await spoken(talker, audio={"output": {"format": {"type": "audio/pcm", "rate": rate}}})
                check(f"a rate of {rate} is refused", response is None, str(error))
        async with Raw.connected(address, microphone=False) as talker:
            for speed in 1.5, 0.5:
                size, _ = await spoken(talker, audio={"output": {"speed": speed}})
                share = size / 2 / RATE * speed / seconds
                check(f"speed {speed}", 0.75 < share < 1.3, f"{size / 2 / RATE:.2f} s of {seconds:.2f} s")
            error, response = await spoken(talker, audio={"output": {"speed": 9.0}})
            check("a speed of 9 is refused", response is None, str(error))
            error, response = await spoken(talker, audio={"output": {"voice": "nobody"}})
            check("an unknown voice is refused", response is None and error["code"] == "voice_unknown", str(error))
            size, response = await spoken(talker, audio={"output": {"voice": "marin"}})
            check("an OpenAI voice is another name", response and size > 0 and response["audio"]["output"]["voice"] == "marin", str(response and response["audio"]["output"]))
        async with Raw.connected(address, microphone=False, output_modalities=["text"]) as talker:
            since = len(talker.told)
            size, response = await spoken(talker)
            text = "".join(event["delta"] for _, event in talker.events(TEXT_DELTA, since=since))
            check("a reply in writing", size == 0 and text == SHORT and response["output_modalities"] == ["text"], str(response["output"]))
            done = await replied(talker, "Once aloud.", output_modalities=["audio"])
            check("and once aloud", bool(talker.events(AUDIO)) and done["response"]["output_modalities"] == ["audio"])
            done = await replied(talker, "Short.", max_output_tokens=2)
            check("at most two tokens", (done["response"]["status"], done["response"]["status_details"]) == ("incomplete", {"type": "incomplete", "reason": "max_output_tokens"}), str(done["response"]["status_details"]))


async def manners(args):
    text, sound = rows(1)[0]
    with servers(args, "--reply", REPLIES, "--first-token", 20, "--rate", 10) as (address, llm):
        async with Raw.connected(address, microphone=False, audio={"input": {"turn_detection": None}}) as talker:
            for begin in range(0, len(sound), 9_600):
                await talker.send_audio(sound[begin : begin + 9_600])
            await talker.send({"type": "input_audio_buffer.commit"})
            _, heard = await talker.next(COMPLETED)
            await asyncio.sleep(0.3)
            check("push-to-talk: understood, and no reply by itself", heard["transcript"] == text and not talker.events(CREATED), heard["transcript"])
            for begin in range(0, len(sound), 9_600):
                await talker.send_audio(sound[begin : begin + 9_600])
            await talker.send({"type": "input_audio_buffer.commit"})
            await talker.send({"type": "response.create"})
            await talker.next(AUDIO)
            entry = running.stats(llm)["log"][-1]
            users = [message["content"] for message in entry["shown"]["messages"] if message["role"] == "user"]
            check("push-to-talk: response.create right after commit waits for the words", "\n".join(users) == f"{text}\n{text}", str(users))
            for begin in range(0, len(sound), 9_600):
                await talker.send_audio(sound[begin : begin + 9_600])
            await talker.send({"type": "input_audio_buffer.commit"})
            await asyncio.sleep(0.5)
            check("push-to-talk: a commit does not interrupt", not talker.events(DONE))
        async with Raw.connected(address, audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}) as talker:
            talker.say(sound)
            await talker.next(COMPLETED)
            await asyncio.sleep(0.5)
            check("create_response false: no reply", not talker.events(CREATED))
            await talker.send({"type": "response.create"})
            await talker.next(AUDIO)
            talker.say(sound)
            _, done = await talker.next(DONE)
            check("create_response false: still interrupts", done["response"]["status"] == "cancelled", done["response"]["status"])
        async with Raw.connected(address, audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}}) as talker:
            talker.say(sound)
            await talker.next(AUDIO)
            since = len(talker.told)
            talker.say(sound)
            await talker.next(COMPLETED, since=since)
            await asyncio.sleep(0.5)
            check("interrupt_response false: the reply goes on", bool(talker.events(AUDIO, since=len(talker.told) - 20)) and not talker.events(DONE))
            _, done = await talker.next(DONE)
            await talker.next(CREATED, where=lambda event: event["response"]["id"] != done["response"]["id"])
            check("interrupt_response false: what was said meanwhile is replied to after it", done["response"]["status"] == "completed", done["response"]["status"])
        async with Raw.connected(address, audio={"input": {"transcription": None}}) as talker:
            talker.say(sound)
            await talker.next(AUDIO)
            check("no transcription: replied to, and no text told", not talker.events(COMPLETED), str([kind for kind in {event["type"] for _, event in talker.told} if "transcription" in kind]))
            check("no transcription: the language model has the words", running.stats(llm)["log"][-1]["said"] == text)
        async with Raw.connected(address, microphone=False, output_modalities=["text"]) as talker:
            await talker.write("Stay out of this.", conversation="none", metadata={"topic": "aside"}, input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Only this."}]}])
            _, done = await talker.next(DONE)
            shown = running.stats(llm)["log"][-1]["shown"]["messages"]
            check("outside: only its own input is shown", [message["content"] for message in shown if message["role"] == "user"] == ["Only this."], str(shown))
            check("outside: notes come back, and no conversation", done["response"]["metadata"] == {"topic": "aside"} and done["response"]["conversation_id"] is None)
            check("outside: nothing joins the conversation", not [event for _, event in talker.events("conversation.item.added") if event["item"].get("role") == "assistant"])
    check("all is closed", True)


async def beta(args):
    text, sound = rows(1)[0]
    with servers(args, "--reply", SHORT, "--first-token", 20, "--rate", 100) as (address, _):
        headers = {"OpenAI-Beta": "realtime=v1"}
        async with websockets.connect(f"ws://{address}/v1/realtime?model=gpt-realtime", additional_headers=headers, max_size=None, compression=None) as connection:
            talker = Raw(connection)
            async with talker.talking():
                _, created = await talker.next("session.created")
                session = created["session"]
                print(f"  note: session.created has {', '.join(session)}")
                await talker.send({"type": "session.update", "session": {"modalities": ["audio", "text"], "voice": "alloy", "input_audio_format": "pcm16", "output_audio_format": "pcm16", "input_audio_transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"}, "temperature": 0.8}})
                _, updated = await talker.next("session.updated", "error")
                check("the flat session is taken", updated["type"] == "session.updated", str(updated.get("error", "")))
                talker.say(sound)
                _, done = await talker.next(DONE)
                kinds = []
                for _, event in talker.told:
                    if not event["type"].startswith("pool.") and (not kinds or kinds[-1] != event["type"]):
                        kinds.append(event["type"])
                print(f"  note: {' '.join(kinds)}")
                wanted = {"conversation.item.created", "response.audio.delta", "response.audio.done", "response.audio_transcript.delta", "response.audio_transcript.done"}
                check("the names are beta's", wanted <= set(kinds) and not any("output_audio" in kind or kind in ("conversation.item.added", "conversation.item.done") for kind in kinds), str(wanted - set(kinds)))
                content = done["response"]["output"][0]["content"][0]
                check("a spoken part is of type audio", content.get("type") == "audio", str(content))
                print(f"  note: response.done has {', '.join(done['response'])}")


SCENES = {"model": model, "vanish": vanish, "deaf": deaf, "crowd": crowd, "events": events, "formats": formats, "manners": manners, "beta": beta}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(running.BINARY))
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=", ".join(SCENES))
    args = parser.parse_args()
    for name in args.scenes or SCENES:
        print(name, flush=True)
        try:
            asyncio.run(SCENES[name](args))
        except Exception as error:  # The other scenes are to be seen as well.
            check(f"{name} comes to its end", False, f"{type(error).__name__}: {error}")
    sys.exit(1 if check.failed else 0)


if __name__ == "__main__":
    main()
