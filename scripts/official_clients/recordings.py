"""Recordings to speak, and how to pace them."""

import csv
import pathlib
import wave

RECORDINGS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "recordings" / "eval"
RATE = 16_000


def reliable(count):
    """Recordings of one sentence that the demo model gets right to the letter: (name, PCM16 at 16 kHz, text)."""
    with open(RECORDINGS / "reliable.tsv", newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = [row for row in rows if row["text"].count(".") == 1 and row["kind"] != "human-digits"][:count]
    return [(row["file"], pcm(RECORDINGS / row["file"]), row["text"]) for row in rows]


def pcm(path):
    with wave.open(str(path)) as opened:
        assert (opened.getnchannels(), opened.getsampwidth(), opened.getframerate()) == (1, 2, RATE), path
        return opened.readframes(opened.getnframes())


def pieces(samples, ms=20):
    """Frames as a microphone delivers them."""
    step = 2 * RATE * ms // 1_000
    return [samples[start : start + step] for start in range(0, len(samples), step)]


def silence(seconds):
    return bytes(2 * int(RATE * seconds))
