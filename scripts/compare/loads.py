"""Putting a load on a server with `stenopool loadtest`, the same for everybody, and keeping what it reports."""
import contextlib
import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# What a run may take beside its duration: connecting, the last texts, and saying again alone what looks like a leak.
SLACK_SECONDS = 150
STOP_SECONDS = 60


@dataclass(frozen=True)
class Rules:
    """What is equal for all."""

    binary: Path
    audio: Path
    core: int
    duty: float
    shortest_pause: float
    duration: int
    seed: int
    patience: int
    logs: Path
    # Whether people wait for their text before they speak again.
    waits: bool = True

    def command(self, server, protocol, *what):
        return ["taskset", "-c", str(self.core), str(self.binary), "loadtest", *what, "--url", server.url, "--protocol", protocol,
                "--audio", str(self.audio), "--duty", str(self.duty), "--shortest-pause", f"{self.shortest_pause:g}",
                "--seed", str(self.seed), "--language", "en", "--patience", str(self.patience), *["--wait-for-text"] * self.waits]


def is_able(binary):
    """Whether this binary's load test has all flags that are used here."""
    words = subprocess.run([binary, "loadtest", "knee", "--help"], capture_output=True, text=True).stdout
    # Help texts are wrapped.
    return all(known in " ".join(words.split()) for known in ("--shortest-pause", "--first", "without pause"))


def recordings_of(audio, kinds, folder):
    """Puts the recordings of these kinds into a folder of their own; returns how many they are."""
    with open(audio / "transcripts.tsv", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    chosen = [row for row in rows if kinds == "all" or row.get("kind") in kinds.split(",")]
    if not chosen:
        sys.exit(f"error: no recordings of the kinds {kinds} in {audio}\nhint: --kinds all")
    folder.mkdir()
    for row in chosen:
        (folder / row["file"]).symlink_to((audio / row["file"]).resolve())
    lines = ["\t".join(rows[0]), *("\t".join(value or "" for value in row.values()) for row in chosen)]
    (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n")
    return len(chosen)


def load(rules, server, protocol, people, duration=None):
    """One run with so many people: the load test's report, and what the server used meanwhile."""
    duration = duration or rules.duration
    cpu_before, begin = server.usage()[0], time.monotonic()
    command = rules.command(server, protocol, "--clients", str(people), "--duration", str(duration))
    report = result_of(command, rules, duration + rules.patience + SLACK_SECONDS)
    cpu, memory = server.usage()
    seconds = time.monotonic() - begin
    report["compare"] = {"rss_bytes": memory, "cpu_seconds": cpu - cpu_before, "cpu_share": (cpu - cpu_before) / seconds,
                         "alive": server.is_alive()}
    return report


def knee(rules, server, protocol, limit_ms, first, most, seconds):
    """How many people the server holds: the curve of `loadtest knee`, cut off after so many seconds."""
    command = rules.command(server, protocol, "knee", "--limit-ms", str(limit_ms), "--step", str(rules.duration), "--first", str(first),
                            "--clients", str(most))
    return result_of(command, rules, seconds)


def result_of(command, rules, seconds):
    """The JSON that a load test writes. Exit code 1 with a JSON is a result: something was lost, leaked or late, and the JSON has it."""
    path = rules.logs / "result.json"
    path.unlink(missing_ok=True)
    with open(rules.logs / "loadtest.log", "a") as log:
        print("$", *command, file=log, flush=True)
        process = subprocess.Popen([*command, "--json", str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.PIPE, text=True)
        try:
            errors = finish(process, seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        log.write(errors)
    with contextlib.suppress(OSError, json.JSONDecodeError):
        return json.loads(path.read_text())
    lines = [line for line in errors.splitlines() if line.strip()] or [f"exit code {process.returncode}"]
    return {"failed": next((line for line in lines if "error" in line), lines[-1])[:200]}


def finish(process, seconds):
    """Waits; asks for what there is when it takes too long."""
    try:
        return process.communicate(timeout=max(1, seconds))[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=STOP_SECONDS)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[1]
