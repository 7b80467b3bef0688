#!/usr/bin/env python3
"""Memory of a server at 1 and at 4 slots: what a slot adds is working memory, the weights are there once.

    scripts/memory.py [--model demo] [--binary target/release/stenopool]
"""
import argparse
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request


def resident_mib(pid):
    status = open(f"/proc/{pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def measure(binary, model, slots, port):
    server = subprocess.Popen([binary, "serve", "--model", model, "--slots", str(slots), "--bind", f"127.0.0.1:{port}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_slots(server, port, slots)
        return resident_mib(server.pid)
    finally:
        server.terminate()
        server.wait()


def wait_for_slots(server, port, slots):
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/pool") as response:
                if json.load(response)["slots"]["total"] == slots:
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"the server ended with exit code {server.returncode} before its slots were open")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--binary", default="target/release/stenopool")
    parser.add_argument("--port", type=int, default=18080)
    args = parser.parse_args()
    memory = {slots: measure(args.binary, args.model, slots, args.port) for slots in (1, 2, 4)}
    print(f"model {args.model}, {os.cpu_count()} cores\n\n| slots | resident memory | per further slot |\n|---|---|---|")
    for slots, mib in memory.items():
        further = f"{(mib - memory[1]) / (slots - 1):.0f} MiB" if slots > 1 else ""
        print(f"| {slots} | {mib:.0f} MiB | {further} |")


main()
