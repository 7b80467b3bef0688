#!/usr/bin/env python3
"""Stenopool and other speech servers under the same load, one after the other, on this machine.

    scripts/compare/compare.py install              # some 8 GB from PyPI, into target/compare
    scripts/compare/compare.py check                # starts each server once: what runs here, what does not, why
    scripts/compare/compare.py run --budget-minutes 90
    scripts/compare/compare.py run --quick --only stenopool-fit,whisper-live

`run` writes bench/compare-MACHINE.md and .json, after every round and when it is interrupted, too. Servers and the load test
are pinned to a core each. Needs Linux, `taskset`, Python 3.10 or later with venv, `make build`, and the demo weights in
Hugging Face layout (--weights).
"""
import argparse
import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import install
import loads
import report
import servers
from rivals import RIVALS

ROOT = Path(__file__).resolve().parent.parent.parent
WARM_UP_SECONDS = 10
START_SECONDS = 20
KNEE_LOADS = 7
MOST_PEOPLE = 256
# Rounds and seconds of each load, best first: what a budget is spent on.
PLANS = ((3, 60), (3, 45), (3, 30), (2, 30), (3, 20), (2, 20), (1, 20), (1, 15))
QUICK = dict(rounds=1, duration=15, ladder=[1, 2, 4], limits_ms=[1000])


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = parsed()
    place = install.Place(args.folder.resolve(), args.weights.resolve(), args.binary.resolve(), args.models_dir.resolve())
    place.folder.mkdir(parents=True, exist_ok=True)
    if args.action == "install":
        sys.exit(1 if install.install(place) else 0)
    logs = Path(tempfile.mkdtemp(prefix="compare-"))
    print(f"logs: {logs}")
    if not place.binary.exists():
        sys.exit(f"error: there is no {place.binary}\nhint: make build")
    if {args.server_core, args.load_core} - os.sched_getaffinity(0):
        sys.exit("error: this process may not use both cores\nhint: --server-core and --load-core take the numbers of two")
    install.prepare_weights(place, print)
    install.link_ffmpeg(place, print)
    chosen = [rival for rival in RIVALS if not args.only or rival.key in args.only]
    (check if args.action == "check" else Comparison)(args, place, chosen, logs)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("install", "check", "run"))
    parser.add_argument("--folder", type=Path, default=ROOT / "target/compare", help="where the rivals are installed")
    parser.add_argument("--weights", type=Path, default=ROOT.parent / "shared/demo-model", help="folder with hf/ and ct2/ [../shared/demo-model]")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/stenopool")
    parser.add_argument("--models-dir", type=Path, default=ROOT / "models", help="where `make setup` put Stenopool's files")
    parser.add_argument("--load-binary", type=Path, help="the stenopool that runs the load test, if it is another one")
    parser.add_argument("--only", type=keys, help="servers, comma separated: " + ", ".join(rival.key for rival in RIVALS))
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--audio", type=Path, default=ROOT / "tests/recordings/eval")
    parser.add_argument("--kinds", default="seen-voice,human-digits",
                        help="kinds of recordings; the model is bad at the others whoever serves it; `all` for all [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=int, default=60, help="seconds of each load")
    parser.add_argument("--ladder", type=numbers, default=[1, 2, 4, 8, 16, 32], help="numbers of people, comma separated")
    parser.add_argument("--limits-ms", type=numbers, default=[1000, 3000], help="p95 limits for the knees; 0 for no knees")
    parser.add_argument("--duty", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=int, default=30, help="seconds after which a text is lost")
    parser.add_argument("--budget-minutes", type=float, help="choose rounds and duration so that all fits, and stop then")
    parser.add_argument("--quick", action="store_true", help="one short round with few people: whether all works, not who is how good")
    parser.add_argument("--out", type=Path, default=ROOT / "bench")
    parser.add_argument("--machine", help="name in the file names [from the processor]")
    args = parser.parse_args()
    if args.quick:
        vars(args).update(QUICK)
    args.limits_ms = [limit for limit in args.limits_ms if limit]
    # The summary is about one person alone.
    args.ladder = sorted({1, *args.ladder})
    return args


def keys(text):
    known = {rival.key for rival in RIVALS}
    wanted = text.split(",")
    if unknown := set(wanted) - known:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return wanted


def numbers(text):
    return [int(part) for part in text.split(",")]


def check(args, place, chosen, logs):
    """Starts each server once."""
    absent = install.missing(place)
    for rival in chosen:
        if rival.package and rival.package.folder in absent:
            print(f"{rival.key}: {absent[rival.package.folder]}")
            continue
        begin = time.monotonic()
        try:
            with servers.running(rival, place, args.server_core, logs) as server:
                print(f"{rival.key}: ready after {time.monotonic() - begin:.1f} s with {server.usage()[1] / 2**20:.0f} MiB")
        except servers.DidNotStart as error:
            print(f"{rival.key}: {error} (log: {logs / rival.key}.log)")


class Comparison:
    """A run from its plan to its files."""

    def __init__(self, args, place, chosen, logs):
        self.args, self.place, self.chosen, self.logs = args, place, chosen, logs
        self.absent = install.missing(place)
        self.runnable = [rival for rival in chosen if not rival.package or rival.package.folder not in self.absent]
        self.plan()
        audio, recordings = recordings_of(args, logs)
        self.rules = loads.Rules(args.load_binary or place.binary, audio, args.load_core, args.duty, args.duration, args.seed, args.patience, logs)
        self.results = self.blank(recordings)
        try:
            self.rounds()
            self.knees()
        finally:
            self.write()

    def plan(self):
        args = self.args
        if args.budget_minutes and not args.quick:
            fits = [plan for plan in PLANS if self.seconds(*plan) <= 60 * args.budget_minutes]
            args.rounds, args.duration = fits[0] if fits else PLANS[-1]
        estimate = self.seconds(args.rounds, args.duration)
        self.deadline = time.monotonic() + 60 * (args.budget_minutes or float("inf"))
        print(f"{len(self.runnable)} servers, {args.rounds} rounds, loads of {args.ladder} people for {args.duration} s each, "
              f"knees at {args.limits_ms} ms: at most about {estimate / 60:.0f} minutes"
              + (f", cut off after {args.budget_minutes:g}" if args.budget_minutes else ""))
        for key in (rival.key for rival in self.chosen if rival not in self.runnable):
            print(f"  without {key}: not installed")

    def seconds(self, rounds, duration):
        """About how long it takes if nobody gives up early. Few servers climb the whole ladder."""
        each = duration + START_SECONDS / 2
        ladder = rounds * (START_SECONDS + WARM_UP_SECONDS + each * len(self.args.ladder))
        knees = len(self.args.limits_ms) * KNEE_LOADS * each + START_SECONDS
        return len(self.runnable) * (ladder + knees)

    def blank(self, recordings):
        args = self.args
        return {
            "command": shlex.join(["scripts/compare/compare.py", *told(sys.argv[1:])]), "date": time.strftime("%Y-%m-%d"), "version": version(self.place.binary),
            "machine": {"cpu": processor(), "cores": os.cpu_count(), "server_core": args.server_core, "load_core": args.load_core},
            "rules": {"rounds": args.rounds, "duration": args.duration, "ladder": args.ladder, "limits_ms": args.limits_ms, "duty": args.duty,
                      "seed": args.seed, "patience": args.patience, "kinds": args.kinds, "recordings": recordings},
            "servers": {rival.key: {"failed": self.absent.get(rival.package.folder) if rival.package else None, "rounds": [], "knees": {}}
                        for rival in self.chosen},
        }

    def rounds(self):
        for number in range(1, self.args.rounds + 1):
            for rival in self.runnable:
                if self.is_over():
                    return
                self.attempt(rival, f"round {number}", self.climb)
            self.write()

    def knees(self):
        for rival in self.runnable:
            kept = self.results["servers"][rival.key]
            wanted = [limit for limit in self.args.limits_ms if any(kept["rounds"])]
            # A limit that one person alone is enough to break needs no search.
            hopeless = [limit for limit in wanted if report.within(self.results, rival.key, limit) == "0"]
            kept["knees"].update({str(limit): {"knee": None, "good": 0, "from": "ladder"} for limit in hopeless})
            if len(hopeless) < len(wanted) and not self.is_over():
                self.attempt(rival, "knees", lambda r, server: self.search(r, server, [limit for limit in wanted if limit not in hopeless]))
                self.write()

    def attempt(self, rival, what, act):
        """With the server running; what fails is told in the table, and the others go on."""
        print(f"{what}: {rival.name}", flush=True)
        try:
            with servers.running(rival, self.place, self.args.server_core, self.logs) as server:
                self.results["servers"][rival.key].setdefault("idle_rss_bytes", server.usage()[1])
                # Some load their model for the first client.
                loads.load(self.rules, server, rival.protocol, 1, WARM_UP_SECONDS)
                act(rival, server)
        except servers.DidNotStart as error:
            self.results["servers"][rival.key]["failed"] = str(error)
            print(f"  {error} (log: {self.logs / rival.key}.log)", flush=True)

    def climb(self, rival, server):
        kept = {}
        self.results["servers"][rival.key]["rounds"].append(kept)
        for people in self.args.ladder:
            if self.is_over():
                return
            result = kept[str(people)] = loads.load(self.rules, server, rival.protocol, people)
            print(f"  {people}: {report.rung([result])}", flush=True)
            if self.is_beyond(result):
                return

    def is_beyond(self, result):
        """Whether more people would only show more of the same: nobody would wait so long, or hardly any text comes."""
        p95 = report.dig(result, ("final_latency_ms", "p95"))
        far = 2 * max(self.args.limits_ms, default=3000)
        lost, turns = result.get("lost_utterances") or 0, result.get("turns") or 0
        return "failed" in result or p95 is None or p95 > far or 2 * lost > turns or not result["compare"]["alive"]

    def search(self, rival, server, limits):
        for limit in limits:
            left = self.deadline - time.monotonic()
            if left <= 0:
                return
            start = max(1, int(report.within(self.results, rival.key, limit).split()[0]) // 2)
            longest = 2 * KNEE_LOADS * (self.args.duration + self.args.patience)
            curve = loads.knee(self.rules, server, rival.protocol, limit, start, MOST_PEOPLE, min(longest, left))
            self.results["servers"][rival.key]["knees"][str(limit)] = curve
            print(f"  knee at {limit} ms: {report.knee_of(self.results['servers'][rival.key], limit)}", flush=True)

    def is_over(self):
        return time.monotonic() > self.deadline

    def write(self):
        args = self.args
        args.out.mkdir(parents=True, exist_ok=True)
        base = args.out / f"compare-{args.machine or slug(processor())}"
        base.with_suffix(".json").write_text(json.dumps(thinned(self.results), indent=1) + "\n")
        base.with_suffix(".md").write_text(report.markdown(self.results))
        print(f"written: {base}.md", flush=True)


def recordings_of(args, logs):
    """The recordings of the chosen kinds, in a folder of their own, and how many they are."""
    with open(args.audio / "transcripts.tsv", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    chosen = [row for row in rows if args.kinds == "all" or row.get("kind") in args.kinds.split(",")]
    if not chosen:
        sys.exit(f"error: no recordings of the kinds {args.kinds} in {args.audio}")
    folder = logs / "audio"
    folder.mkdir()
    for row in chosen:
        (folder / row["file"]).symlink_to((args.audio / row["file"]).resolve())
    lines = ["\t".join(rows[0]), *("\t".join(value or "" for value in row.values()) for row in chosen)]
    (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n")
    return folder, len(chosen)


def thinned(results):
    """Without the single decodes, which only the planner wants."""
    def clean(value):
        if isinstance(value, dict):
            return {key: clean(part) for key, part in value.items() if key != "samples"}
        return [clean(part) for part in value] if isinstance(value, list) else value
    return clean(results)


def told(arguments):
    """The command as it may be published: without absolute paths."""
    return [os.path.basename(part) if part.startswith("/") else part for part in arguments]


def version(binary):
    """The version and the commit, as in 0.1.0 (commit 0123456789)."""
    words = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    return words.strip().removeprefix("stenopool ").replace(", features none", "")


def processor():
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0] if names else os.uname().machine


def slug(name):
    return f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}-{os.cpu_count()}-cores"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
