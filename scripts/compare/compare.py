#!/usr/bin/env python3
"""Stenopool and other speech servers under the same load, one after the other, on this machine.

    scripts/compare/compare.py install              # some 8 GB from PyPI, into target/compare
    scripts/compare/compare.py check                # each server once, for a moment: what runs here, what does not, why
    scripts/compare/compare.py run --budget-minutes 25 --dry-run        # what would be done, and how long it takes
    scripts/compare/compare.py run --budget-minutes 25
    scripts/compare/compare.py run --budget-minutes 25 --shortest-pause 6
    scripts/compare/compare.py run --continuous --only stenopool-fit,faster-whisper-server,whisperlivekit

`run` writes bench/compare-MACHINE.md and .json, after every round and when it is interrupted, too. Servers and the load test
are pinned to a core each, and both cores are kept awake (see ../awake.py).

The line with --shortest-pause makes a second table, bench/compare-MACHINE-pauses-6-s.md: WhisperLiveKit keeps what it heard over
pauses of less than 5 s, and the demo model was never trained to go on from there. With pauses of 6 s and more, that is out of the way.

--continuous makes a third one, bench/compare-MACHINE-continuous.md: everybody speaks without pause (`loadtest --duty 1`), with 0.7 s
from the last word of a turn to the first of the next, and nobody waits for a text before speaking on. It looks for the largest
number of people with p95 <= 1 s, which stands in the last column of the first table.

Needs Linux, `taskset`, Python 3.10 or later with venv, `make build`, and the demo weights in Hugging Face layout (--weights).
"""
import argparse
import dataclasses
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path

import comparison
import install
import loads
import plan
from rivals import RIVALS

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "scripts"))
from awake import awake  # noqa: E402

# Without pause: as much silence as ends a turn, and the knee is what is asked for.
CONTINUOUS = dict(duty=1.0, shortest_pause=0.7, limits_ms=[1000], knees="all", rounds=1, duration=30, ladder=[1, 2, 4, 8])
QUICK = dict(rounds=1, duration=20, ladder=[1, 2, 4], limits_ms=[], knees="none")
# One person speaks at once and hardly pauses: whether texts come, not how fast.
CHECK = dict(duration=6, patience=8, duty=0.7, shortest_pause=0.5)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = parsed()
    place = install.Place(args.folder.resolve(), args.weights.resolve(), args.binary.resolve(), args.models_dir.resolve())
    if args.action == "install":
        place.folder.mkdir(parents=True, exist_ok=True)
        sys.exit(1 if install.install(place) else 0)
    todo = planned(args, place)
    print(*(todo.told() if args.action == "run" else (rival.key for rival in todo.rivals)), sep="\n")
    if args.action == "run" and args.budget_minutes:
        print(f"ends after {args.budget_minutes:g} minutes, whatever is missing then")
    if args.dry_run:
        return
    prepare(args, place)
    rules, recordings = rules_of(args, place, todo)
    print(f"logs: {rules.logs}", flush=True)
    with awake([args.server_core, args.load_core]):
        if args.action == "check":
            comparison.check(todo, place, dataclasses.replace(rules, **CHECK), args.server_core)
        else:
            comparison.Comparison(args, place, todo, rules, recordings, told(sys.argv[1:])).run()


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("install", "check", "run"))
    add_places(parser)
    add_load(parser)
    add_extent(parser)
    args = parser.parse_args()
    if args.continuous:
        # What was asked for by name is kept.
        parser.set_defaults(**CONTINUOUS)
        args = parser.parse_args()
    if args.quick:
        vars(args).update(QUICK)
    args.limits_ms = sorted({limit for limit in args.limits_ms if limit})
    # The summary is about one person alone.
    args.ladder = sorted({1, *args.ladder})
    return args


def add_places(parser):
    group = parser.add_argument_group("places")
    group.add_argument("--folder", type=Path, default=ROOT / "target/compare", help="where the rivals are installed [target/compare]")
    group.add_argument("--weights", type=Path, default=ROOT.parent / "shared/demo-model", help="folder with hf/ and ct2/ [../shared/demo-model]")
    group.add_argument("--binary", type=Path, default=ROOT / "target/release/stenopool", help="[target/release/stenopool]")
    group.add_argument("--models-dir", type=Path, default=ROOT / "models", help="where `make setup` put Stenopool's files [models]")
    group.add_argument("--load-binary", type=Path, help="the stenopool that runs the load test, if it is another one")
    group.add_argument("--server-core", type=int, default=0, help="[%(default)s]")
    group.add_argument("--load-core", type=int, default=1, help="[%(default)s]")
    group.add_argument("--out", type=Path, default=ROOT / "bench", help="where the tables go [bench]")
    group.add_argument("--machine", help="name in the file names [from the processor]")


def add_load(parser):
    group = parser.add_argument_group("load, the same for all")
    group.add_argument("--audio", type=Path, default=ROOT / "tests/recordings/eval")
    group.add_argument("--kinds", default="seen-voice,human-digits",
                       help="kinds of recordings; the model is bad at the others whoever serves it; `all` for all [%(default)s]")
    group.add_argument("--duty", type=float, default=0.25, help="part of the time that each person speaks [%(default)s]")
    group.add_argument("--shortest-pause", type=positive, default=1, metavar="SECONDS",
                       help="silence between two turns at least; 6 for a table without WhisperLiveKit's memory [%(default)s]")
    group.add_argument("--continuous", action="store_true",
                       help="people who speak without pause: --duty 1 --shortest-pause 0.7 --limits-ms 1000 --knees all --rounds 1 "
                            "--duration 30 --ladder 1,2,4,8, where nothing else is said")
    group.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    group.add_argument("--patience", type=int, default=30, help="seconds after which a text is lost [%(default)s]")


def add_extent(parser):
    group = parser.add_argument_group("extent")
    group.add_argument("--only", type=keys, help="servers, comma separated: " + ", ".join(rival.key for rival in RIVALS))
    group.add_argument("--rounds", type=int, default=3, help="[%(default)s]")
    group.add_argument("--duration", type=int, default=60, help="seconds of each load [%(default)s]")
    group.add_argument("--ladder", type=numbers, default=[1, 2, 4, 8, 16], help="numbers of people, comma separated [1,2,4,8,16]")
    group.add_argument("--limits-ms", type=numbers, default=[1000, 3000], help="p95 limits for the knees; 0 for none [1000,3000]")
    group.add_argument("--knees", choices=("all", "open", "none"), default="all",
                       help="whose knees to look for; open: of those that kept a limit up to the end of the ladder [%(default)s; open with a budget]")
    group.add_argument("--budget-minutes", type=float, metavar="MINUTES",
                       help="choose servers, rounds, duration and knees so that all fits, and stop then")
    group.add_argument("--quick", action="store_true", help="one short round with few people: whether all works, not who is how good")
    group.add_argument("--dry-run", action="store_true", help="print the plan, and do nothing")


def keys(text):
    known = {rival.key for rival in RIVALS}
    wanted = text.split(",")
    if unknown := set(wanted) - known:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return wanted


def numbers(text):
    return [int(part) for part in text.split(",")]


def positive(text):
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("expected more than 0 seconds")
    return value


def planned(args, place):
    """What to do: as asked, or as much of it as the budget holds."""
    chosen = [rival for rival in RIVALS if not args.only or rival.key in args.only]
    rivals, left_out = comparison.runnable(place, chosen)
    limits = tuple(args.limits_ms)
    wish = plan.Plan(rivals, args.rounds, args.duration, tuple(args.ladder), limits, limits, args.knees, args.patience, left_out)
    if not rivals:
        sys.exit("error: none of these servers is installed\nhint: compare.py install, or --folder")
    return plan.fitting(wish, args.budget_minutes) if args.budget_minutes and not args.quick else wish


def prepare(args, place):
    if not place.binary.exists():
        sys.exit(f"error: there is no {place.binary}\nhint: make build")
    if not loads.is_able(args.load_binary or place.binary):
        sys.exit("error: this stenopool's load test does not know --shortest-pause, knee --first and --duty 1\nhint: make build")
    if {args.server_core, args.load_core} - os.sched_getaffinity(0):
        sys.exit("error: this process may not use both cores\nhint: --server-core and --load-core take the numbers of two")
    place.folder.mkdir(parents=True, exist_ok=True)
    install.prepare_weights(place, print)
    install.link_ffmpeg(place, print)


def rules_of(args, place, todo):
    logs = Path(tempfile.mkdtemp(prefix="compare-"))
    recordings = loads.recordings_of(args.audio, args.kinds, logs / "audio")
    binary = (args.load_binary or place.binary).resolve()
    rules = loads.Rules(binary, logs / "audio", args.load_core, args.duty, args.shortest_pause, todo.duration, args.seed, args.patience, logs,
                        waits=not args.continuous)
    return rules, recordings


def told(arguments):
    """The command as it may be published: without absolute paths."""
    return shlex.join(["scripts/compare/compare.py", *(os.path.basename(part) if part.startswith("/") else part for part in arguments)])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
