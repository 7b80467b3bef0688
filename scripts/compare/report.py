"""From results to the tables of `bench/compare-MACHINE.md`. Medians over the rounds; what was not measured is a dash."""
import re
import statistics

from rivals import ABSENT, PACKAGES, RIVALS

DASH = "–"
# Folders in what a server or pip said: they say more about a machine than about the failure.
FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")


def median_of(reports, *keys):
    """The median of a field over the rounds in which it was told."""
    values = [value for value in (dig(report, keys) for report in reports) if value is not None]
    return statistics.median(values) if values else None


def dig(report, keys):
    for key in keys:
        report = report.get(key) if isinstance(report, dict) else None
    return report


def at(results, key, people):
    """The reports of all rounds with so many people."""
    return [rounds[str(people)] for rounds in results["servers"][key]["rounds"] if str(people) in rounds]


def every(results, key):
    """All reports of the rounds, with the number of people."""
    return [(people, report) for rounds in results["servers"][key]["rounds"] for people, report in rounds.items()]


def is_broken(report):
    """Whether nobody was served: the run failed, the server died, or more than half of the turns were lost."""
    lost, turns = report.get("lost_utterances") or 0, report.get("turns") or 0
    return "failed" in report or dig(report, ("compare", "alive")) is False or 2 * lost > turns


def best_within(results, key, limit_ms):
    """The largest load up to which all kept the limit, and whether a larger one was seen to break it."""
    best = 0
    for people in results["rules"]["ladder"]:
        reports = at(results, key, people)
        told = [report for report in reports if not is_broken(report)]
        if 2 * len(told) <= len(reports):
            # Broken in half of the rounds or more; or not tried.
            return best, bool(reports)
        p95 = median_of(told, "final_latency_ms", "p95")
        if p95 is None and any(report.get("unpublished") for report in told):
            # A late load test says nothing about the server.
            return best, False
        if p95 is not None and p95 > limit_ms:
            return best, True
        # A short run may have no turn that counts; then the next load says more.
        best = best if p95 is None else people
    return best, False


def markdown(results):
    ran = [rival for rival in RIVALS if any(results["servers"][rival.key]["rounds"])]
    parts = [heading(results), windows(ran), summary(results, ran), ladder(results, ran), troubles(results, ran), absent(results, ran), notes(ran)]
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(results):
    rules, machine = results["rules"], results["machine"]
    return f"""# Stenopool beside other servers: {machine['cpu']}

- Machine: {machine['cpu']}, {machine['cores']} cores, {number(machine['memory_bytes'] / 2**30)} GiB of memory, {machine['system']}, \
Python {machine['python']}. No GPU was used.
- Date: {results['date']}. Command: `{results['command']}`
- Cores: each server ran alone, with one thread, on core {machine['server_core']}; the load test ran on core {machine['load_core']}.
- Versions: Stenopool {results['version']}; {versions()}.
- People: the same for every server (seed {rules['seed']}). {manners(rules)} A text that has not come after \
{rules['patience']} s is lost.
- Weights: the demo model of this repository, for every server; the language is set to English.
- Recordings: {rules['recordings']} files of the kinds {rules['kinds']}.
- Rounds: {rules['rounds']} planned, {rules['duration']} s for each load; in every round each server has its turn. Figures are medians over the rounds that were run.

The final latency of an utterance is the time from the last speech that was sent to the final text."""


def manners(rules):
    if rules.get("continuous"):
        return (f"Each speaks without pause: recordings one after the other, with {rules['shortest_pause']:g} s between the last speech of one "
                "and the first of the next, and nobody waits for a text before speaking on. (Where the protocol does not say which part of "
                "the audio a text is of, as WhisperLive's does not, people have to wait for it all the same.)")
    return (f"Each speaks {100 * rules['duty']:.0f} % of the time, pauses for {rules['shortest_pause']:g} s or longer, and waits for the text "
            "before speaking again.")


def versions():
    """Of the packages that were installed, each with what it was told to bring."""
    lists = []
    for package in PACKAGES:
        fixed = ", ".join(need.replace("==", " ") for need in (*package.alone, *package.needs) if "==" in need)
        lists.append(fixed + (f" (without {package.left_out})" if package.left_out else ""))
    return "; ".join(lists)


def windows(ran):
    if not any(rival.key.startswith("stenopool") for rival in ran):
        return ""
    return ("`fit` and `full` are two settings of Stenopool. With `full`, the encoder always works through a window of 30 s, as Whisper "
            "models are usually trained and run. With `fit`, it works through no more than the utterance, which is less work; this needs a "
            "model that was trained for it, as the demo model was. `full` is closer to what the other servers do.")


def summary(results, ran):
    limits, knee_limits = results["rules"]["limits_ms"], results["rules"]["knee_limits_ms"]
    head = ["server", "protocol", "p50, 1 person", "p95, 1 person", "word error, 1 person", "memory idle", "memory at most", "CPU, 1 person",
            "lost", "leaks", "misheard", *(f"people with p95 ≤ {limit / 1000:g} s" for limit in limits),
            *(f"knee at {limit / 1000:g} s" for limit in knee_limits)]
    text = f"""Latencies are in ms, memory (RSS) in MiB, CPU in percent of the server's core.

- *Lost*: turns whose text, or part of it, never came, of all turns in the table below.
- *Leaks*: runs of four or more words that one person said and another one got. *Misheard*: runs that look like leaks, but came \
again when the recording was said with nobody else there, so that they are wrong readings (at most 20 are kept of each load).
- *People with p95 ≤ …*: the largest load in the table below at which 95 % of the texts came in time; turns may have been lost, up to half of them. \
*Or more*: no larger load was tried, or none that says anything."""
    knees = """
- *Knee*: the largest number of people that `loadtest knee` found. It is stricter: not one utterance may be lost, and there may be no \
error, no refusal and no leak. 0: one person alone already waits longer. Dash: not looked for, because the table below shows it, or time was over."""
    return "## In short\n\n" + table(head, [summary_row(results, rival, limits, knee_limits) for rival in ran]) + "\n\n" + text + (knees if knee_limits else "")


def summary_row(results, rival, limits, knee_limits):
    kept, one = results["servers"][rival.key], at(results, rival.key, 1)
    loads = [report for _, report in every(results, rival.key)]
    most = max((dig(report, ("compare", "rss_bytes")) or 0 for report in loads), default=0)
    return [f"[{rival.name}](#notes)", rival.protocol, number(median_of(one, "final_latency_ms", "p50")), number(median_of(one, "final_latency_ms", "p95")),
            percent(median_of(one, "wer")), mebibytes(kept.get("idle_rss_bytes")), mebibytes(most or None),
            percent(median_of(one, "compare", "cpu_share")), f"{total(loads, 'lost_utterances')}/{total(loads, 'turns')}",
            total(loads, "leaks"), total(loads, "misheard"), *(within(results, rival.key, limit) for limit in limits),
            *(knee_of(kept, limit) for limit in knee_limits)]


def total(reports, name):
    """The sum of a field that is a number or a list; missing in a run that failed."""
    values = [report.get(name) or 0 for report in reports]
    return sum(len(value) if isinstance(value, list) else value for value in values)


def within(results, key, limit_ms):
    people, bounded = best_within(results, key, limit_ms)
    if not people and not bounded:
        return DASH
    return str(people) if bounded else f"{people} or more"


def knee_of(kept, limit_ms):
    """A search that was cut off, or whose generator was late, knows a number that is held, and no more."""
    curve = kept["knees"].get(str(limit_ms))
    if curve is None:
        return DASH
    if "failed" in curve:
        return f"{DASH} ({tidy(curve['failed'])[:80]})"
    if curve.get("knee") is not None:
        return str(curve["knee"])
    good, reason = curve.get("good"), dig(curve, ("ended", "reason"))
    why = {"generator_late": " (load test late)", "stopped": " (time was over)", "broke": " (a load broke off)"}.get(reason, "")
    if good:
        return f"{good} or more{why}"
    return "0" if reason in ("found", "all_passed") else f"{DASH}{why}"


def ladder(results, ran):
    loads = results["rules"]["ladder"]
    head = ["server", *(f"{people}" for people in loads)]
    rows = [[rival.name, *(rung(at(results, rival.key, people)) for people in loads)] for rival in ran]
    return ("## By the number of people\n\n" + table(head, rows) + "\n\nIn each cell: p50 / p95 of the final latency in ms, word error, how many of "
            "all turns were lost, and leaks if there were any. *Load test late*: the load test could not keep the pace, so that its latencies say "
            "nothing. Empty cells were not tried, because the load before was far too much already, or because time was over.")


def rung(reports):
    if not reports:
        return ""
    told = [report for report in reports if "failed" not in report]
    if not told:
        return f"failed: {tidy(reports[0]['failed'])[:60]}"
    p50, p95 = (number(median_of(told, "final_latency_ms", quantile)) for quantile in ("p50", "p95"))
    late = all(report.get("unpublished") for report in told)
    leaks = total(told, "leaks")
    return (("load test late" if late else f"{p50} / {p95}") + f", {percent(median_of(told, 'wer'))}, "
            f"{total(told, 'lost_utterances')}/{total(told, 'turns')} lost" + (f", {leaks} leak{'s' * (leaks > 1)}" if leaks else ""))


def troubles(results, ran):
    """What else the load test counted against somebody, and where it told no latency."""
    lines = [line for rival in ran for line in troubles_of(rival, every(results, rival.key))]
    return "## Errors, refusals, leaks\n\n" + "\n".join(lines) if lines else ""


def troubles_of(rival, loads):
    reports, errors = [report for _, report in loads], {}
    for report in reports:
        for code, count in (report.get("errors") or {}).items():
            errors[code] = errors.get(code, 0) + count
    if refused := total(reports, "rejected"):
        yield f"- {rival.name}: {refused} connections refused"
    yield from (f"- {rival.name}: error `{code}`, {count} times" for code, count in sorted(errors.items()))
    for people, report in loads:
        yield from (f"- {rival.name}, {people} people: leak of “{leak['words']}”" for leak in report.get("leaked") or [])
        if "failed" in report:
            yield f"- {rival.name}, {people} people: the load test did not finish: {tidy(report['failed'])}"
        if report.get("unpublished"):
            yield f"- {rival.name}, {people} people: {report['unpublished']}"
        if dig(report, ("compare", "alive")) is False:
            yield f"- {rival.name}, {people} people: the server ended"


def absent(results, ran):
    why = [(rival.name, tidy(results["servers"][rival.key]["failed"] or "time was over")) for rival in RIVALS if rival not in ran]
    return "## Who is not in the tables, and why\n\n" + table(["server", "why"], [*why, *ABSENT])


def notes(ran):
    lines = [f"- **{rival.name}.** {' '.join(rival.notes)}" for rival in ran]
    return "## Notes\n\n" + "\n".join(lines) if lines else ""


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def tidy(reason):
    """As it may stand in a table that is published."""
    return FOLDERS.sub("", reason).replace("|", "\\|")


def number(value, form="{:.0f}"):
    return DASH if value is None else form.format(value)


def percent(share):
    return number(None if share is None else 100 * share, "{:.0f} %")


def mebibytes(count):
    return number(None if count is None else count / 2**20)
