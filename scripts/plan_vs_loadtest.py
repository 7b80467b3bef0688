#!/usr/bin/env python3
"""Holds `stenopool plan` against `stenopool loadtest`: predicted and measured waits at three loads, on this machine.

usage: plan_vs_loadtest.py [--binary target/release/stenopool] [--audio tests/recordings/eval] [--utterances 2000]

A server of its own with the demo model, one slot and the full window runs on one core, the load test on another. Two
calibrations measure decodes and how often people speak; from these files alone `plan` predicts what three crowds will
see, and only then does each crowd speak. Writes bench/plan-MACHINE.md and bench/plan-MACHINE.json. Exits with 1 when a
prediction is off by more than it may be: the probability of waiting by 8 points, the p95 wait by the larger of 25 % and
30 ms; or when a load test failed.
"""
import argparse
import contextlib
import json
import pathlib
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOADS = (0.5, 0.7, 0.85)
PATIENCE_SECONDS = 60.0
RAMP_SECONDS = 10
POINTS, PART, MS = 0.08, 0.25, 30.0
# How much the p95 of runs of this length scatters is seen from so many simulations of it.
SEEDS = 12


def pinned(core, *command):
    return ["taskset", "-c", str(core), *map(str, command)]


@contextlib.contextmanager
def server(args):
    """A server on a free port, ready to take work."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    flags = ["--bind", address, "--model", "demo", "--slots", "1", "--threads", "1", "--window", args.window]
    process = subprocess.Popen(pinned(args.server_core, args.binary, "--log", "warn", "serve", *flags),
                               stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_ready(address):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("the server does not start")
            time.sleep(0.05)
        yield f"http://{address}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def is_ready(address):
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=5) as answer:
            return answer.read() == b"ready\n"
    except OSError:
        return False


def loadtest(args, url, people, seconds, file):
    print(f"{people} people for {seconds:.0f} s", flush=True)
    command = [args.binary, "loadtest", "--url", url, "--audio", args.audio, "--clients", people, "--duration", round(seconds),
               "--duty", args.duty, "--ramp", RAMP_SECONDS, "--json", file]
    done = subprocess.run(pinned(args.client_core, *command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not file.exists():
        sys.exit(f"the load test wrote nothing: {done.stderr.strip()}")
    report = json.loads(file.read_text())
    if done.returncode or report["unpublished"]:
        print(f"  the load test failed: {done.stderr.strip()[-400:]}", flush=True)
    return report, done.returncode == 0


def plan(args, sources, people, **flags):
    """A prediction; `None` when the slots cannot do the work."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [args.binary, "plan", "--slots", "1", "--people", people, "--duty", args.duty, "--json", file.name]
        for source in sources:
            command += ["--from", source]
        for name, value in flags.items():
            command += [f"--{name}", value]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode == 1:
            return None
        if done.returncode:
            sys.exit(f"no plan: {done.stderr.strip()}")
        return json.load(file)


def crowd(args, sources, load):
    """The number of people who bring this load, as `plan` sees it."""
    people, best = 2, None
    for _ in range(6):
        found = plan(args, sources, people, hours=0.5)
        if found is None:
            people = max(1, people * 3 // 4)
            continue
        offered = people * found["decode_ms"] / 1e3 / found["cycle_s"]
        if best is None or abs(offered - load) < abs(best[1] - load):
            best = people, offered
        next_people = max(1, round(people * load / offered))
        if next_people == people:
            break
        people = next_people
    return best[0]


def calibrate(args, url, folder):
    """Decodes with few people, and with about as many as at the highest load: the same core hears them all."""
    few, _ = loadtest(args, url, 4, args.calibration_seconds, folder / "few.json")
    sources = [folder / "few.json"]
    many = crowd(args, sources, 0.8)
    loadtest(args, url, many, args.calibration_seconds, folder / "many.json")
    return sources + [folder / "many.json"]


def scatter(args, sources, people, hours):
    """The standard deviation of the p95 wait of runs as long as the real one."""
    runs = [plan(args, sources, people, hours=hours, seed=seed) for seed in range(100, 100 + SEEDS)]
    return statistics.stdev(run["figures"]["wait_p95_ms"] for run in runs if run)


def compare(args, url, folder, sources, load):
    people = crowd(args, sources, load)
    predicted = plan(args, sources, people)
    if predicted is None:
        sys.exit(f"{people} people are too many for one slot")
    seconds = args.utterances * predicted["cycle_s"] / people + RAMP_SECONDS
    measured, passed = loadtest(args, url, people, seconds, folder / f"load-{load}.json")
    figures = predicted["figures"]
    waits = [wait for _, _, wait in measured["samples"]]
    row = {
        "target_load": load, "people": people, "utterances": measured["finals"], "seconds": measured["duration_s"],
        "loadtest_passed": passed,
        "predicted": {"load": figures["load"], "waiting_probability": figures["waiting_probability"],
                      "wait_mean_ms": figures["wait_mean_ms"], "wait_p95_ms": figures["wait_p95_ms"],
                      "final_p95_ms": figures["final_p95_ms"], "decode_ms": predicted["decode_ms"]},
        "measured": {"load": measured["utilization"], "waiting_probability": measured["waited_share"],
                     "wait_mean_ms": statistics.fmean(waits), "wait_p95_ms": measured["queue_wait_ms"]["p95"],
                     "final_p95_ms": measured["final_latency_ms"]["p95"],
                     "decode_ms": statistics.fmean(decode for _, decode, _ in measured["samples"])},
        "scatter_p95_ms": scatter(args, sources, people, seconds / 3600),
    }
    judge(row)
    print("  " + ("agrees" if row["agrees"] else "DIFFERS"), json.dumps(row["predicted"]), json.dumps(row["measured"]), flush=True)
    return row


def judge(row):
    predicted, measured = row["predicted"], row["measured"]
    row["waiting_off"] = predicted["waiting_probability"] - measured["waiting_probability"]
    row["p95_off_ms"] = predicted["wait_p95_ms"] - measured["wait_p95_ms"]
    row["p95_allowed_ms"] = max(PART * measured["wait_p95_ms"], MS)
    row["agrees"] = (row["loadtest_passed"] and abs(row["waiting_off"]) <= POINTS and abs(row["p95_off_ms"]) <= row["p95_allowed_ms"]
                     and row["utterances"] >= 1_000)


def pair(row, figure, shown):
    return f"{shown(row['predicted'][figure])} / {shown(row['measured'][figure])}"


def table(args, rows):
    percent = lambda part: f"{100 * part:.1f} %"
    ms = lambda figure: f"{figure:.0f} ms"
    lines = [
        f"# `stenopool plan` against `stenopool loadtest` on {args.machine}", "",
        f"`scripts/plan_vs_loadtest.py`: the demo model, {args.window} window, 1 slot on one core of its own, duty {args.duty:g}. `plan` knew",
        "two calibrations with other numbers of people and nothing else. Each cell: predicted / measured.", "",
        "| people | utterances | load | waiting | mean wait | p95 wait | p95 scatters by | p95 final | verdict |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        cells = [str(row["people"]), str(row["utterances"]), pair(row, "load", percent), pair(row, "waiting_probability", percent),
                 pair(row, "wait_mean_ms", ms), pair(row, "wait_p95_ms", ms), "± " + ms(row["scatter_p95_ms"]),
                 pair(row, "final_p95_ms", ms), "agrees" if row["agrees"] else "**differs**"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "They agree when the probability of waiting is within 8 points and the p95 wait within the larger of 25 % and 30 ms.",
              f"\"Scatters by\" is the standard deviation of the p95 wait among {SEEDS} simulated runs of the same length: no prediction",
              "can be nearer to a single run than that.", ""]
    return "\n".join(lines)


def machine():
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found[1]
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "stenopool"))
    parser.add_argument("--audio", default=str(ROOT / "tests" / "recordings" / "eval"))
    parser.add_argument("--utterances", type=int, default=2_000, help="for each load; fewer than 1000 prove nothing")
    parser.add_argument("--calibration-seconds", type=float, default=180)
    parser.add_argument("--duty", type=float, default=0.3)
    parser.add_argument("--window", default="full", choices=["fit", "full"], help="what the encoder looks at")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--machine", default=machine(), help="what to call this machine")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(args) as url:
        folder = pathlib.Path(folder)
        sources = calibrate(args, url, folder)
        rows = [compare(args, url, folder, sources, load) for load in LOADS]
    args.out.mkdir(exist_ok=True)
    name = "plan-" + re.sub(r"[^a-z0-9]+", "-", args.machine.lower()).strip("-")
    (args.out / f"{name}.md").write_text(table(args, rows))
    (args.out / f"{name}.json").write_text(json.dumps({"machine": args.machine, "duty": args.duty, "window": args.window, "rows": rows}, indent=2) + "\n")
    print(f"\n{table(args, rows)}\n{args.out / name}.md")
    sys.exit(0 if all(row["agrees"] for row in rows) else 1)


if __name__ == "__main__":
    main()
