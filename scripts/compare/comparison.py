"""A run from its plan to its files: climbs in rounds, then knees, and after each the table as it stands."""
import json
import time

import install
import loads
import machine
import report
import servers
from plan import KNEE_LOADS, WARM_UP_SECONDS
from rivals import RIVALS

MOST_PEOPLE = 256
# A search for a knee that gets less than so many loads says nothing.
KNEE_LOADS_AT_LEAST = 2


class Comparison:
    """What was asked for, and what was measured so far."""

    def __init__(self, args, place, plan, rules, recordings, command):
        self.args, self.place, self.plan, self.rules = args, place, plan, rules
        self.results = self.blank(recordings, command)
        self.deadline = float("inf")

    def run(self):
        """Measures. What there is gets written when it is interrupted, too."""
        if self.args.budget_minutes:
            self.deadline = time.monotonic() + 60 * self.args.budget_minutes
        try:
            self.rounds()
            self.knees()
        finally:
            self.write()

    def blank(self, recordings, command):
        args, plan = self.args, self.plan
        why = {rival.key: reason for rival, reason in plan.left_out}
        return {
            "command": command, "date": time.strftime("%Y-%m-%d"), "version": machine.version(self.place.binary),
            "machine": machine.facts(args.server_core, args.load_core),
            "rules": {"rounds": plan.rounds, "duration": plan.duration, "ladder": list(plan.ladder), "limits_ms": list(plan.limits_ms), "knee_limits_ms": list(plan.knee_limits_ms),
                      "knees": plan.knees, "duty": args.duty, "shortest_pause": args.shortest_pause, "seed": args.seed,
                      "patience": args.patience, "continuous": args.continuous, "kinds": args.kinds, "recordings": recordings},
            "servers": {rival.key: {"failed": why.get(rival.key), "rounds": [], "knees": {}} for rival in RIVALS},
        }

    def rounds(self):
        for number in range(1, self.plan.rounds + 1):
            for rival in self.plan.rivals:
                if self.left() < self.plan.begin_seconds(rival) + self.plan.load_seconds():
                    return
                self.attempt(rival, f"round {number}", self.climb)
            self.write()

    def knees(self):
        for rival in self.plan.rivals:
            limits = self.open_limits(rival)
            if limits and self.left() > self.plan.begin_seconds(rival) + KNEE_LOADS_AT_LEAST * self.plan.load_seconds():
                self.attempt(rival, "knees", lambda rival, server: self.search(rival, server, limits))
                self.write()

    def open_limits(self, rival):
        """For which limits the knee is to be looked for. One that a single person breaks needs no search: the knee is 0."""
        kept = self.results["servers"][rival.key]
        if self.plan.knees == "none" or not any(kept["rounds"]):
            return []
        best = {limit: report.best_within(self.results, rival.key, limit) for limit in self.plan.knee_limits_ms}
        kept["knees"].update({str(limit): {"knee": 0} for limit, found in best.items() if found == (0, True)})
        return [limit for limit, (people, bounded) in best.items() if not bounded or self.plan.knees == "all" and people]

    def attempt(self, rival, what, act):
        """With the server running; what fails is told in the table, and the others go on."""
        print(f"{what}: {rival.name}", flush=True)
        kept = self.results["servers"][rival.key]
        try:
            with servers.running(rival, self.place, self.args.server_core, self.rules.logs) as server:
                kept.setdefault("idle_rss_bytes", server.usage()[1])
                # Some load their model for the first client.
                loads.load(self.rules, server, rival.protocol, 1, WARM_UP_SECONDS)
                act(rival, server)
        except servers.DidNotStart as error:
            kept["failed"] = str(error)
            print(f"  {error} (log: {self.rules.logs / rival.key}.log)", flush=True)

    def climb(self, rival, server):
        kept = {}
        self.results["servers"][rival.key]["rounds"].append(kept)
        for people in self.plan.ladder:
            if self.left() < self.plan.load_seconds():
                return
            result = kept[str(people)] = loads.load(self.rules, server, rival.protocol, people)
            print(f"  {people}: {report.rung([result])}", flush=True)
            if self.is_beyond(result):
                return

    def is_beyond(self, result):
        """Whether more people would only show more of the same: nobody would wait so long, or hardly any text comes."""
        p95 = report.dig(result, ("final_latency_ms", "p95"))
        far = 2 * max(self.plan.limits_ms, default=3000)
        return report.is_broken(result) or bool(result.get("unpublished")) or p95 is not None and p95 > far

    def search(self, rival, server, limits):
        kept = self.results["servers"][rival.key]
        for limit in limits:
            left = self.left()
            if left < KNEE_LOADS_AT_LEAST * self.plan.load_seconds():
                return
            people, bounded = report.best_within(self.results, rival.key, limit)
            first = max(1, people // 2 if bounded else people)
            longest = 2 * KNEE_LOADS * (self.plan.duration + self.args.patience)
            kept["knees"][str(limit)] = loads.knee(self.rules, server, rival.protocol, limit, first, MOST_PEOPLE, min(longest, left))
            print(f"  knee at {limit} ms: {report.knee_of(kept, limit)}", flush=True)

    def left(self):
        """Seconds until the budget is spent."""
        return self.deadline - time.monotonic()

    def write(self):
        args = self.args
        args.out.mkdir(parents=True, exist_ok=True)
        # A table with other pauses stands beside the first one.
        pauses = "" if args.shortest_pause == 1 else f"-pauses-{args.shortest_pause:g}-s"
        pauses = "-continuous" if args.continuous else pauses
        base = args.out / f"compare-{args.machine or machine.slug()}{pauses}"
        for ending, text in ((".json", json.dumps(thinned(self.results), indent=1) + "\n"), (".md", report.markdown(self.results))):
            base.with_name(base.name + ending).write_text(text)
        print(f"written: {base}.md", flush=True)


def check(plan, place, rules, core):
    """Starts each server once, and lets one person speak to it for a moment."""
    for rival in plan.rivals:
        begin = time.monotonic()
        try:
            with servers.running(rival, place, core, rules.logs) as server:
                ready, memory = time.monotonic() - begin, server.usage()[1]
                result = loads.load(rules, server, rival.protocol, 1)
                print(f"{rival.key}: ready after {ready:.1f} s with {memory / 2**20:.0f} MiB; {report.rung([result])}", flush=True)
        except servers.DidNotStart as error:
            print(f"{rival.key}: {error} (log: {rules.logs / rival.key}.log)", flush=True)
    for rival, why in plan.left_out:
        print(f"{rival.key}: {why}")


def runnable(place, chosen):
    """Who can run, and who is left out and why."""
    absent = install.missing(place)
    why = {rival: absent.get(rival.package.folder) if rival.package else None for rival in chosen}
    left_out = [(rival, "not asked for (--only)") for rival in RIVALS if rival not in chosen]
    left_out += [(rival, reason) for rival, reason in why.items() if reason]
    return tuple(rival for rival in chosen if not why[rival]), tuple(left_out)


def thinned(results):
    """Without the single decodes, which only the planner wants."""
    def clean(value):
        if isinstance(value, dict):
            return {key: clean(part) for key, part in value.items() if key != "samples"}
        return [clean(part) for part in value] if isinstance(value, list) else value
    return clean(results)
