#!/usr/bin/env python3
"""Real-time factor (processing time / audio time) of `stenopool transcribe` beside a whisper-cli-style loop: one thread,
one state, file after file, whole 30-second windows, through the same whisper.cpp with the same weights.

    scripts/real_time_factor.py MODEL.bin FOLDER [--repeat 3]

FOLDER holds 16 kHz mono WAVs. Needs Python, Rust and `make build`; start-up is counted on both sides, runs alternate, and
the median counts.
"""
import argparse
import os
import platform
import statistics
import subprocess
import tempfile
import time
import wave
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOOP = ROOT / "target/loop/release/wt"
STENOPOOL = ROOT / "target/release/stenopool"


def seconds_of(path):
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def timed(command):
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    manifest = ROOT / "scripts/demo-model/wt/Cargo.toml"
    subprocess.run(["cargo", "build", "--release", "-q", "--manifest-path", manifest, "--target-dir", ROOT / "target/loop"], check=True)

    files = sorted(args.folder.glob("*.wav"))
    audio = sum(map(seconds_of, files))
    listing = tempfile.NamedTemporaryFile("w", suffix=".txt")
    listing.write("".join(f"{file}\n" for file in files))
    listing.flush()
    loop = [LOOP, args.model, listing.name, "threads=1"]
    ours = [STENOPOOL, "transcribe", "--model", args.model, *files]
    contestants = {
        "loop, 1 thread, full window": [*loop, "ctx=full"],
        "loop, 1 thread, fitting window": [*loop, "ctx=short"],
        "stenopool, 1 slot, full window": [*ours, "--slots", "1", "--threads", "1", "--window", "full"],
        "stenopool, 1 slot, fitting window": [*ours, "--slots", "1", "--threads", "1", "--window", "fit"],
        "stenopool, auto slots, fitting window": [*ours, "--window", "fit"],
    }
    times = {name: [] for name in contestants}
    for _ in range(args.repeat):
        for name, command in contestants.items():
            times[name].append(timed(command))
    base = statistics.median(next(iter(times.values())))
    print(f"{len(files)} files, {audio:.0f} s of audio; {platform.machine()}, {os.cpu_count()} cores\n")
    print("| how | seconds | real-time factor | times as fast |\n|---|---|---|---|")
    for name, runs in times.items():
        median = statistics.median(runs)
        print(f"| {name} | {median:.2f} | {median / audio:.4f} | {base / median:.1f} |")


main()
