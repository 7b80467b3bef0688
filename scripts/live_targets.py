#!/usr/bin/env python3
"""How live transcription does against its targets, on this machine, by a fresh server of ours for each part.

    scripts/live_targets.py                      # all parts
    scripts/live_targets.py one idle             # some of them
    scripts/live_targets.py silence --minutes 3 --json targets.json

one       one person: from the last speech to the final text (half a second of end silence), from the first speech to the first delta
words     every recording once in real time: word error against the same file decoded whole, words in which finals differ from deltas
silence   no text of silence, of noise, of music-like tones and of clicks: the recordings without speech, and --minutes of synthetic ones
idle      --clients sessions that stream silence: processors, memory, lost audio

How many people can speak at once without pause, and how many rivals hold: compare/compare.py run --continuous.

Exits with 1 when a target was missed. Needs Linux, Python 3.10 or later with nothing installed, and `make build`.
"""
import argparse
import array
import concurrent.futures
import contextlib
import json
import math
import os
import random
import shutil
import time
import urllib.request
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import scoring
from awake import awake

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts/compare"))
import machine  # noqa: E402

RATE = 16_000
TEXT = "conversation.item.input_audio_transcription."
# What a silent session keeps: the prefix of an utterance that may begin, 300 ms of 32-bit samples at 16 kHz.
RING_BYTES = 0.3 * RATE * 4
# Of each kind of synthetic sound there is so much at a time, once at each of these levels.
PIECE_SECONDS = 60
LEVELS = 1.0, 0.3, 0.1


class Table:
    """Targets, what was measured, and whether that is good enough."""

    def __init__(self):
        self.rows = []

    def add(self, part, target, measured, good, told):
        self.rows.append({"part": part, "target": target, "measured": measured, "good": bool(good), "told": told})
        print(f"{'ok  ' if good else 'MISS'} {part}: {target}: {told}", flush=True)

    def at_most(self, part, target, measured, limit, form):
        """What was not measured is no success."""
        told = "not measured" if measured is None else form.format(measured)
        self.add(part, target, measured, measured is not None and measured <= limit, told)

    def markdown(self, head):
        lines = [f"| {row['part']} | {row['target']} | {row['told']} | {'yes' if row['good'] else '**no**'} |" for row in self.rows]
        return "\n".join([head, "", "| part | target | measured | reached |", "|---|---|---|---|", *lines])


@contextlib.contextmanager
def server(args):
    """A fresh server on a free port; its address."""
    command = [args.binary, "serve", "--bind", "127.0.0.1:0", "--model", "demo", *args.serve.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        try:
            lines = (line for line in process.stdout if "http://" in line)
            line = next(lines, None) or sys.exit("error: the server did not start\nhint: stenopool doctor")
            url = "http://" + line.rpartition("http://")[2].split()[0]
            wait_for_slots(url)
            yield url
        finally:
            process.terminate()


def wait_for_slots(url):
    """Slots open one by one, and each takes memory that is not a session's."""
    for _ in range(300):
        with urllib.request.urlopen(f"{url}/pool") as reply:
            pool = json.load(reply)
        sizing = pool["sizing"]
        wanted = min(term for term in (sizing["fits"], sizing["knee"], sizing["max_slots"]) if term is not None)
        if pool["slots"]["total"] >= wanted and not pool["slots"]["warming"]:
            return
        time.sleep(0.1)


def loadtest(args, url, *what):
    """The report of a load test; its exit code says less than the report."""
    command = [args.binary, "loadtest", *what, "--url", url, "--audio", args.audio, "--json", "-"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    return json.loads(done.stdout) if done.stdout.strip() else sys.exit(done.stderr.strip() or "error: the load test said nothing")


def listened(args, url, path):
    """What a server tells of a file that is played in real time: the final texts, and how many deltas."""
    command = [args.binary, "listen", "--url", url, "--json", "--file", path]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{path}: {done.stderr.strip()}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    finals = [event for event in events if event["type"] == TEXT + "completed"]
    deltas = [event for event in events if event["type"] == TEXT + "delta"]
    return {"text": " ".join(event["transcript"] for event in finals if event["transcript"]), "deltas": len(deltas)}


def all_listened(args, url, paths):
    with concurrent.futures.ThreadPoolExecutor(args.at_once) as people:
        return list(people.map(lambda path: listened(args, url, path), paths))


def counted(url, what):
    """What a server has counted so far. It knows which words it told before the final text; a client sees only deltas."""
    with urllib.request.urlopen(f"{url}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith(f"stenopool_asr_{what}_total "))


def transcribed(args, paths):
    """The texts of whole files."""
    command = [args.binary, "transcribe", "--model", "demo", "--format", "json", *paths]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return [json.loads(line)["text"] for line in done.stdout.splitlines()]


def one(args, table):
    with server(args) as url:
        report = loadtest(args, url, "--clients", "1", "--duty", "0.6", "--ramp", "5", "--duration", str(args.duration))
    if report.get("unpublished"):
        print(f"note: {report['unpublished']}")
    final, first = report["final_latency_ms"] or {}, report["first_delta_ms"] or {}
    turns = f"{report['turns']} turns"
    table.at_most("one speaker", "end of speech to final text, p50 ≤ 600 ms", final.get("p50"), 600, f"{{:.0f}} ms ({turns})")
    table.at_most("one speaker", "end of speech to final text, p95 ≤ 700 ms", final.get("p95"), 700, f"{{:.0f}} ms ({turns})")
    table.at_most("one speaker", "start of speech to first delta, p50 ≤ 1500 ms", first.get("p50"), 1500, "{:.0f} ms")
    table.at_most("one speaker", "lost utterances 0", report["lost_utterances"], 0, "{}")


def words(args, table):
    rows = [row for row in scoring.recordings(args.audio) if row["text"].strip()]
    paths = [row["path"] for row in rows]
    with server(args) as url:
        heard = all_listened(args, url, paths)
        told, diverged = counted(url, "delta_words"), counted(url, "diverged_words")
    whole = transcribed(args, paths)
    streamed_wrong, all_words = rate(rows, [each["text"] for each in heard])
    whole_wrong, _ = rate(rows, whole)
    streamed, decoded = 100 * streamed_wrong / all_words, 100 * whole_wrong / all_words
    both = f"{streamed:.2f} % streamed, {decoded:.2f} % whole, {all_words} words"
    table.add("words", "word error within 1 point of the whole file", streamed - decoded, streamed - decoded <= 1, both)
    share = 100 * diverged / told if told else None
    table.at_most("words", "words told before the final text that it has otherwise < 1 %", share, 0.999999, f"{{:.2f}} % ({diverged} of {told} words)")
    if args.show:
        for row, each, text in zip(rows, heard, whole):
            if scoring.words(each["text"]) != scoring.words(text):
                print(f"{row['file']}\n  said:     {row['text']}\n  streamed: {each['text']}\n  whole:    {text}")


def rate(rows, texts):
    """Wrong words, and all words."""
    pairs = [(scoring.words(row["text"]), scoring.words(text)) for row, text in zip(rows, texts)]
    return sum(scoring.errors(said, heard) for said, heard in pairs), sum(len(said) for said, _ in pairs)


def silence(args, table):
    recorded = [row["path"] for row in scoring.recordings(args.audio) if not row["text"].strip()]
    with tempfile.TemporaryDirectory() as folder:
        print(f"making {args.minutes:g} minutes of noise, tones and clicks", flush=True)
        made = synthetic(Path(folder), round(args.minutes * 60 / PIECE_SECONDS))
        for what, paths in ("recordings of silence and noise", recorded), (f"{len(made)} min of synthetic noise, tones and clicks", made):
            if not paths:
                continue
            with server(args) as url:
                heard = all_listened(args, url, paths)
            live = [each["text"] or "deltas" * bool(each["deltas"]) for each in heard]
            for way, texts in ("live", live), ("whole files", transcribed(args, paths)):
                phantoms = [(path, text) for path, text in zip(paths, texts) if text.strip()]
                told = "none" if not phantoms else "; ".join(f"{path.name}: “{text[:60]}”" for path, text in phantoms[:5])
                table.add("silence", f"no text of {what}, {way}", len(phantoms), not phantoms, told)
                keep(args, [path for path, _ in phantoms])


def keep(args, paths):
    """Saves sounds that gave a text, to be looked into."""
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copy(path, args.keep)


def synthetic(folder, pieces):
    """So many files, one minute each: every kind of sound at every level before any comes again with other chances."""
    paths, kind_level = [], [(kind, level) for level in LEVELS for kind in SOUNDS]
    for number in range(pieces):
        kind, level = kind_level[number % len(kind_level)]
        samples = SOUNDS[kind](random.Random(number), RATE * PIECE_SECONDS)
        loudest = max(map(abs, samples)) or 1.0
        scale = 0.7 * 32_767 * level / loudest
        path = folder / f"{number:02}-{kind}-{level:g}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(array.array("h", (int(scale * sample) for sample in samples)).tobytes())
        paths.append(path)
    return paths


def white(chance, length):
    return [chance.random() - 0.5 for _ in range(length)]


def brown(chance, length):
    """White noise through a leaky integrator: wind, traffic behind a window."""
    level, samples = 0.0, []
    for _ in range(length):
        level = 0.98 * level + chance.random() - 0.5
        samples.append(level)
    return samples


def gusts(chance, length):
    """Noise that swells and fades about twice a second, as speech does."""
    swell = 2 * math.pi * chance.uniform(1.5, 3.0) / RATE
    return [sample * (1 + math.sin(swell * n)) for n, sample in enumerate(brown(chance, length))]


def hum(chance, length):
    """A transformer: 50 or 60 Hz with what belongs to it."""
    step = 2 * math.pi * chance.choice((50, 60)) / RATE
    return [math.sin(step * n) + 0.5 * math.sin(3 * step * n) + 0.2 * math.sin(5 * step * n) + 0.1 * (chance.random() - 0.5)
            for n in range(length)]


def clicks(chance, length):
    """Keys, switches, cups: short bursts that die away."""
    samples = [0.0] * length
    at = 0
    while (at := at + int(chance.uniform(0.05, 0.8) * RATE)) < length - 2_000:
        loud, fade, step = chance.uniform(0.2, 1), chance.uniform(0.98, 0.998), 2 * math.pi * chance.uniform(300, 5_000) / RATE
        for n in range(1_200):
            samples[at + n] += loud * (math.sin(step * n) + chance.random() - 0.5)
            loud *= fade
    return samples


def notes(chance, length, lasting, together, wobble):
    """Plucked or bowed tones of a pentatonic scale, several at once, with three overtones each."""
    samples = [0.0] * length
    at = 0
    while at < length:
        n_samples = min(int(chance.uniform(*lasting) * RATE), length - at)
        for _ in range(together):
            step = 2 * math.pi * 220 * 2 ** (chance.choice((0, 2, 4, 7, 9, 12, 14, 16)) / 12) / RATE
            for n in range(n_samples):
                phase = step * n + wobble * math.sin(2 * math.pi * 5.5 * n / RATE)
                samples[at + n] += (math.sin(phase) + 0.4 * math.sin(2 * phase) + 0.2 * math.sin(3 * phase)) * math.exp(-2 * n / n_samples)
        at += n_samples
    return samples


def melody(chance, length):
    return notes(chance, length, (0.15, 0.6), 1, 0.0)


def chords(chance, length):
    return notes(chance, length, (0.6, 2.0), 3, 0.0)


def strings(chance, length):
    """With vibrato, which is what voices have, too."""
    return notes(chance, length, (0.4, 1.5), 1, 2.0)


def sweeps(chance, length):
    """Sirens and modems."""
    phase, samples = 0.0, []
    rate, low, high = chance.uniform(0.2, 2), chance.uniform(200, 600), chance.uniform(900, 3_000)
    for n in range(length):
        phase += 2 * math.pi * (low + (high - low) * (0.5 + 0.5 * math.sin(2 * math.pi * rate * n / RATE))) / RATE
        samples.append(math.sin(phase))
    return samples


def beeps(chance, length):
    """A phone that nobody answers: pairs of tones, on and off."""
    pairs = [(chance.choice((697, 770, 852, 941)), chance.choice((1209, 1336, 1477))) for _ in range(length // RATE + 1)]
    def sample(n):
        first, second = pairs[n // RATE]
        return (math.sin(2 * math.pi * first * n / RATE) + math.sin(2 * math.pi * second * n / RATE)) * (n % RATE < 0.4 * RATE)
    return [sample(n) for n in range(length)]


SOUNDS = {sound.__name__: sound for sound in (white, brown, gusts, hum, clicks, melody, chords, strings, sweeps, beeps)}


def idle(args, table):
    for noise in args.noise:
        with server(args) as url:
            report = loadtest(args, url, "idle", "--clients", str(args.clients), "--duration", str(args.idle_seconds), "--noise", noise)
        part = f"{report['connected']} silent sessions, {noise}"
        if report["lag_ms"]["p99"] > 20:
            print(f"note: the load test itself was late by {report['lag_ms']['p99']:.0f} ms (p99)")
        table.at_most(part, "server CPU ≤ 0.12 core per 100 sessions", report["cpu_cores_per_100"], 0.12, "{:.3f}")
        memory = report["rss_per_session_bytes"]
        beyond = None if memory is None else (memory - RING_BYTES) / 1024
        table.at_most(part, "server memory per session ≤ 64 KiB beyond the ring", beyond, 64, f"{{:.1f}} KiB beyond {RING_BYTES / 1024:.0f} KiB")
        lost = report["misplaced"] + report["missing_texts"] + report["rejected"] + sum(report["errors"].values())
        told = f"{report['texts']} of {report['clients']} texts came, {report['misplaced']} heard at another place of the stream"
        table.add(part, "no audio lost", lost, lost == 0 and report["connected"] == args.clients, told)
        table.at_most(part, "silence taken for speech 0 times", report["phantoms"], 0, "{}")


PARTS = {part.__name__: part for part in (one, words, silence, idle)}


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} [all]")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/stenopool", help="[target/release/stenopool]")
    parser.add_argument("--audio", type=Path, default=ROOT / "tests/recordings/eval", help="recordings with transcripts.tsv [tests/recordings/eval]")
    parser.add_argument("--serve", default="", metavar="FLAGS", help='more flags for the server, as in "--slots 2"')
    parser.add_argument("--duration", type=int, default=180, help="one: seconds of talking [%(default)s]")
    parser.add_argument("--at-once", type=int, default=4, help="words, silence: how many files are played at the same time [%(default)s]")
    parser.add_argument("--minutes", type=float, default=30, help="silence: minutes of synthetic sounds [%(default)s]")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="silence: save the sounds that gave a text there")
    parser.add_argument("--clients", type=int, default=300, help="idle: how many sessions [%(default)s]")
    parser.add_argument("--idle-seconds", type=int, default=30, help="idle: how long they are silent [%(default)s]")
    parser.add_argument("--noise", type=lambda text: text.split(","), default=["digital", "room"], help="idle: digital, room or both [digital,room]")
    parser.add_argument("--show", action="store_true", help="words: print each recording whose streamed text differs from the whole one")
    parser.add_argument("--json", type=Path, help="write what was measured")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    args.binary, args.audio = args.binary.resolve(), args.audio.resolve()
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
