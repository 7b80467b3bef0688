#!/usr/bin/env python3
"""Holds `stenopool plan` against `stenopool loadtest`: predicted and measured waits at three loads, on this machine.

usage: plan_vs_loadtest.py [--binary target/release/stenopool] [--audio tests/recordings/eval] [--utterances 1050]

A server of its own with the demo model and one slot runs on one core, the load test on another: some 20 minutes, and 5 more for
each load test that has to be done again. What was
measured with other numbers of people tells `plan` how long decodes take and what people say; from these files alone it
foresees what the next crowd will see. Writes bench/plan-MACHINE.md and bench/plan-MACHINE.json after each of them. Exits with
1 when what was foreseen is off by more than it may be: the probability of waiting by 8 points, the p95 wait by the larger of
25 % and 30 ms; when a load was missed by more than 6 points; or when a load test failed or published no waits.

Anything else that this machine does meanwhile makes decodes slower in the one run and not in the other: let it rest. A host that
shares its processors with others is not equally fast all the time by itself. So both are kept awake (see awake.py), and what
the host takes away from them nevertheless (Linux's "steal") is read: a load test that lost more than 3 % of its time is done
again, three times at most. And the table says, too, what the plan would have said had it known how fast the machine was in
the load test, by the recordings that were played before and in it. That takes one figure from the load test, is no forecast,
and does not decide the exit code.
"""
import argparse
import contextlib
import datetime
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

from awake import awake

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOADS = (0.5, 0.7, 0.85)
PATIENCE_SECONDS = 60.0
RAMP_SECONDS = 10
FEW = 10
# A load is missed when the machine becomes slower or faster meanwhile; then it is tried again.
NEAR, ATTEMPTS = 0.06, 3
# So it is when the host took more than this part of the processors' time: the queues that this makes are not the server's.
STOLEN = 0.03
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
        stop(process)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        print("the server does not end: killed", file=sys.stderr)
        process.kill()
        process.wait()


def is_ready(address):
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=5) as answer:
            return answer.read() == b"ready\n"
    except OSError:
        return False


def loadtest(args, url, people, seconds, file):
    """The report of a load test, and whether it passed. One that is in the folder already is not done again."""
    if not stolen_file(file).exists() or not file.exists() or not file.stat().st_size:
        print(f"{people} people for {seconds:.0f} s", flush=True)
        command = [args.binary, "loadtest", "--url", url, "--audio", args.audio, "--clients", people, "--duration", round(seconds),
                   "--duty", args.duty, "--ramp", RAMP_SECONDS, "--seed", args.seed, "--json", file]
        before = processor_ticks()
        done = subprocess.run(pinned(args.client_core, *command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        stolen_file(file).write_text(json.dumps(stolen(before, processor_ticks())))
        if not file.exists() or not file.stat().st_size:
            sys.exit(f"the load test wrote nothing: {done.stderr.strip()}")
        if done.returncode:
            print(f"  the load test failed: {done.stderr.strip()[-400:]}", flush=True)
    report = json.loads(file.read_text())
    if report["clients"] != people:
        sys.exit(f"{file} is of {report['clients']} people, and {people} are needed: remove it")
    report["stolen"] = json.loads(stolen_file(file).read_text())
    wrong = [report[what] for what in ("leaks", "lost_utterances", "rejected", "errors", "interrupted", "unpublished")]
    return report, not any(wrong)


def stolen_file(file):
    """Where the report in `file` has its neighbour: the part of the processors' time that the host took."""
    return file.with_suffix(".stolen")


def processor_ticks():
    """What all processors together did since the machine started, by kind; `None` where there is no such file."""
    with contextlib.suppress(OSError):
        kinds = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        return dict(zip(kinds, map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])))


def stolen(before, after):
    """The part of the time between two readings that the host took for others; 0 where it does not say."""
    if before is None:
        return 0.0
    return (after["steal"] - before["steal"]) / (sum(after.values()) - sum(before.values()))


def plan(args, sources, people, **flags):
    """A prediction; `None` when the slots cannot do the work. The seed is the load test's unless `flags` have another."""
    flags = {"seed": args.seed, **flags}
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [args.binary, "plan", "--slots", "1", "--people", people, "--duty", args.duty, "--json", file.name]
        for source in sources:
            command += ["--from", source]
        for name, value in flags.items():
            command += [f"--{name}", value]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode == 1:
            print(f"  no plan for {people} people: {done.stderr.strip()}", flush=True)
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
    if best is None:
        sys.exit(f"not even {people} people leave the slot any rest: no crowd brings a load of {load}")
    return best[0]


def other_crowd(args, sources, load):
    """The number of people who bring this load, by what was measured last; or one more if so many were heard already."""
    people = crowd(args, sources[-1:], load)
    heard = [json.loads(source.read_text())["clients"] for source in sources]
    while people in heard:
        people += 1
    return people


def speed_drift(before, measured):
    """How many times longer the same recordings took in the load test than in the one before it: what a machine that shares
    its processor with others does by itself, from one minute to the next."""
    def costs(report):
        played = {clip["file"]: clip["takes"] for clip in report["clips"] if clip["takes"]}
        return {file: statistics.fmean(sum(ms for _, _, ms, _ in take) for take in takes) for file, takes in played.items()}
    now, then = costs(measured), costs(before)
    heard = [file for file in now if file in then]
    return sum(now[file] for file in heard) / sum(then[file] for file in heard)


def at_speed(source, measured, folder):
    """The same report, had the machine been as fast then as it was when `measured` was, and by how much it was not."""
    report = json.loads(source.read_text())
    drift = speed_drift(report, measured)
    report["samples"] = [[speech, ms * drift, wait] for speech, ms, wait in report["samples"]]
    for clip in report["clips"]:
        clip["takes"] = [[[end, speech, ms * drift, at] for end, speech, ms, at in take] for take in clip["takes"]]
    report["decode_ms"] = {quantile: ms * drift for quantile, ms in report["decode_ms"].items()}
    scaled = folder / f"at-speed-{source.name}"
    scaled.write_text(json.dumps(report))
    return scaled, drift


def scatter(args, sources, people, hours):
    """The standard deviation of the p95 wait of runs as long as the real one."""
    runs = [plan(args, sources, people, hours=hours, seed=seed) for seed in range(100, 100 + SEEDS)]
    waits = [run["figures"]["wait_p95_ms"] for run in runs if run]
    return statistics.stdev(waits) if len(waits) > 1 else None


def compare(args, url, folder, before, load):
    """One row of the table, and the report that it was measured by. `before` is what was measured before."""
    sources = before
    for attempt in range(ATTEMPTS):
        probe = folder / f"probe-{load}-{attempt}.json"
        loadtest(args, url, other_crowd(args, sources, load), args.calibration_seconds, probe)
        sources = [sources[-1], probe]
        people = other_crowd(args, sources, load)
        seconds = args.utterances * plan(args, [probe], people)["cycle_s"] / people + RAMP_SECONDS
        file = folder / f"load-{load}-{attempt}.json"
        measured, passed = loadtest(args, url, people, seconds, file)
        disturbed = disturbance(measured, load)
        if disturbed is None or attempt + 1 == ATTEMPTS:
            break
        print(f"  {disturbed}: once more", flush=True)
        sources = [file]
    foreseen = plan(args, sources[-1:], people)
    scaled, drifts = zip(*(at_speed(source, measured, folder) for source in sources))
    predicted, drift = plan(args, scaled, people), drifts[-1]
    if predicted is None:
        sys.exit(f"this machine has become slower by {drift - 1:.0%}, and so {people} people are too many for one slot")
    row = {
        "target_load": load, "people": people, "utterances": measured["finals"], "seconds": measured["duration_s"],
        "loadtest_passed": passed, "unpublished": measured["unpublished"], "drift": drift, "stolen": measured["stolen"],
        "attempts": attempt + 1,
        "foreseen": foreseen and predictions(foreseen), "predicted": predictions(predicted), "measured": measurements(measured),
        "scatter_p95_ms": scatter(args, scaled, people, seconds / 3600),
    }
    judge(row)
    print(f"  foreseen: {row['verdict']}; at its speed: {row['verdict_at_speed']}", json.dumps(row["foreseen"]), json.dumps(row["predicted"]), json.dumps(row["measured"]), flush=True)
    return row, [file]


def disturbance(measured, load):
    """Why a load test tells more of the host than of the server; `None` when it does not."""
    if measured["stolen"] > STOLEN:
        return f"the host took {measured['stolen']:.1%} of the processors' time"
    if abs(measured["utilization"] - load) > NEAR:
        return f"a load of {measured['utilization']:.0%} instead of {load:.0%}, the machine is not as fast as it was"
    return None


def predictions(plan):
    told = ("utilization", "waited_share", "wait_mean_ms", "wait_p95_ms", "final_p95_ms")
    return {figure: plan["figures"][figure] for figure in told} | {"decode_ms": plan["decode_ms"]}


def measurements(report):
    """`None` for what the load test does not tell: a late generator publishes no times of waiting."""
    p95 = lambda quantiles: quantiles and quantiles["p95"]
    mean = lambda figures: statistics.fmean(figures) if figures else None
    published = [] if report["unpublished"] else report["samples"]
    return {"utilization": report["utilization"], "waited_share": report["waited_share"],
            "wait_mean_ms": mean([wait for _, _, wait in published]), "wait_p95_ms": p95(report["queue_wait_ms"]),
            "final_p95_ms": p95(report["final_latency_ms"]),
            "decode_ms": mean([decode for _, decode, _ in report["samples"]])}


def judge(row):
    """Whether what was foreseen agrees with what was measured, and whether it would have at the speed the machine then had."""
    row["verdict"] = verdict(row["foreseen"], row)
    row["verdict_at_speed"] = verdict(row["predicted"], row)
    row["agrees"] = row["verdict"] == "agrees"


def verdict(predicted, row):
    """`agrees`, or why not."""
    measured = row["measured"]
    if predicted is None or measured["waited_share"] is None or measured["wait_p95_ms"] is None:
        return "differs: not foreseen" if predicted is None else "differs: not published"
    waited_off = predicted["waited_share"] - measured["waited_share"]
    p95_off_ms = predicted["wait_p95_ms"] - measured["wait_p95_ms"]
    found = {"waiting": abs(waited_off) > POINTS, "p95 wait": abs(p95_off_ms) > max(PART * measured["wait_p95_ms"], MS),
             "the load test failed": not row["loadtest_passed"], "too few utterances": row["utterances"] < 1_000,
             "the load was missed": abs(measured["utilization"] - row["target_load"]) > NEAR}
    reasons = [reason for reason, holds in found.items() if holds]
    return "differs: " + ", ".join(reasons) if reasons else "agrees"


def three(row, figure, shown):
    told = (row["foreseen"] and row["foreseen"][figure], row["predicted"][figure], row["measured"][figure])
    return " / ".join(known(figure, shown) for figure in told)


def known(figure, shown):
    return "–" if figure is None else shown(figure)


def table(args, rows):
    percent = lambda part: f"{100 * part:.1f} %"
    ms = lambda figure: f"{figure:.0f} ms"
    lines = [
        f"# `stenopool plan` against `stenopool loadtest` on {args.machine}", "",
        f"`scripts/plan_vs_loadtest.py`: the demo model, {args.window} window, 1 slot on one core of its own, duty {args.duty:g}.",
        "Each cell: foreseen, from load tests with other numbers of people and nothing else / the same at the speed that the machine",
        "turned out to have / measured.", "",
        f"{args.version}, Python {platform.python_version()}; {args.date}, seed {args.seed}.", "",
        "| people | utterances | tries | taken by the host | speed | load | waiting | mean wait | p95 wait | p95 scatters by | p95 final | foreseen | at its speed |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        cells = [str(row["people"]), str(row["utterances"]), str(row["attempts"]), percent(row["stolen"]), f"{row['drift'] - 1:+.0%}", three(row, "utilization", percent), three(row, "waited_share", percent),
                 three(row, "wait_mean_ms", ms), three(row, "wait_p95_ms", ms), known(row["scatter_p95_ms"], lambda scatter: "± " + ms(scatter)),
                 three(row, "final_p95_ms", ms), row["verdict"], row["verdict_at_speed"]]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "They agree when the probability of waiting is within 8 points and the p95 wait within the larger of 25 % and 30 ms.",
              f"\"Scatters by\" is the standard deviation of the p95 wait among {SEEDS} simulated runs of the same length: no prediction",
              "can be nearer to a single run than that. A load test is tried again when its load was missed or when the host took more",
              f"than {100 * STOLEN:.0f} % of the processors' time for others. \"Speed\" is by how much longer the same recordings took to decode in the load",
              "test than in the one before it. \"At its speed\" takes that one figure from the load test itself: it shows whether the",
              "queue is simulated right on a machine that is not equally fast all the time, and is no forecast.", ""]
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
    parser.add_argument("--utterances", type=int, default=1_050, help="for each load; fewer than 1000 prove nothing")
    parser.add_argument("--calibration-seconds", type=float, default=75,
                        help="for each load test that tells plan how fast the machine is")
    parser.add_argument("--duty", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=1, help="where chance begins, of the load tests and of the plans")
    parser.add_argument("--window", default="fit", choices=["fit", "full"], help="what the encoder looks at")
    parser.add_argument("--folder", type=pathlib.Path,
                        help="where the load tests' reports are kept; those that are there are not done again")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--machine", default=machine(), help="what to call this machine")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench")
    args = parser.parse_args()
    args.date = datetime.date.today().isoformat()
    args.version = version(args.binary)
    rows = []
    with tempfile.TemporaryDirectory() as temporary, awake([args.server_core, args.client_core]), server(args) as url:
        folder = args.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        sources = [folder / "few.json"]
        loadtest(args, url, FEW, args.calibration_seconds, sources[0])
        for load in LOADS:
            row, sources = compare(args, url, folder, sources, load)
            rows.append(row)
            file = write(args, rows)
    print(f"\n{table(args, rows)}\n{file}")
    sys.exit(0 if all(row["agrees"] for row in rows) else 1)


def version(binary):
    return subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def write(args, rows):
    """What is known so far: what comes later may fail."""
    args.out.mkdir(exist_ok=True)
    name = "plan-" + re.sub(r"[^a-z0-9]+", "-", args.machine.lower()).strip("-")
    told = {"machine": args.machine, "version": args.version, "date": args.date, "duty": args.duty, "window": args.window,
            "seed": args.seed, "rows": rows}
    (args.out / f"{name}.json").write_text(json.dumps(told, indent=2) + "\n")
    (args.out / f"{name}.md").write_text(table(args, rows))
    return args.out / f"{name}.md"


if __name__ == "__main__":
    main()
