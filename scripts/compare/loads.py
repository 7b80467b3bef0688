"""Putting a load on a server with `stenopool loadtest`, the same for everybody, and keeping what it reports."""
import contextlib
import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# Connecting, the last texts, labels by ear: what a run takes beside its duration.
SLACK_SECONDS = 90
STOP_SECONDS = 60


@dataclass(frozen=True)
class Rules:
    """What is equal for all."""

    binary: Path
    audio: Path
    core: int
    duty: float
    duration: int
    seed: int
    patience: int
    logs: Path

    def command(self, server, protocol, *flags):
        return ["taskset", "-c", str(self.core), str(self.binary), "loadtest", *flags, "--url", server.url, "--protocol", protocol,
                "--audio", str(self.audio), "--duty", str(self.duty), "--seed", str(self.seed), "--language", "en", "--wait-for-text",
                "--patience", str(self.patience)]


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


def knee(rules, server, protocol, limit_ms, start, most, seconds):
    """How many people the server holds: the curve of `loadtest knee`, cut off after so many seconds."""
    command = rules.command(server, protocol, "--limit-ms", str(limit_ms), "--step", str(rules.duration), "--from", str(start),
                            "--clients", str(most))
    command[command.index("loadtest") + 1:command.index("loadtest") + 1] = ["knee"]
    return result_of(command, rules, seconds)


def result_of(command, rules, seconds):
    """The JSON that a load test writes. Its exit code says whether all went well; here that is a figure, no failure."""
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
