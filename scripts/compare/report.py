"""From results to the tables of `bench/compare-MACHINE.md`. Medians over the rounds; what was not measured is a dash."""
import statistics

from rivals import ABSENT, PACKAGES, RIVALS

DASH = "–"


def median_of(reports, *keys):
    """The median of a field over the rounds in which it was told."""
    values = [value for value in (dig(report, keys) for report in reports) if value is not None]
    return statistics.median(values) if values else None


def dig(report, keys):
    for key in keys:
        report = report.get(key) if isinstance(report, dict) else None
    return report


def number(value, form="{:.0f}"):
    return DASH if value is None else form.format(value)


def at(results, key, people):
    """The reports of all rounds with so many people."""
    return [rounds[str(people)] for rounds in results["servers"][key]["rounds"] if str(people) in rounds]


def markdown(results):
    shown = [rival for rival in RIVALS if rival.key in results["servers"]]
    ran = [rival for rival in shown if any(results["servers"][rival.key]["rounds"])]
    parts = [heading(results), summary(results, ran), ladder(results, ran), troubles(results, ran), absent(results, shown, ran), notes(ran)]
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(results):
    rules = results["rules"]
    left_out = "".join(f"; `{p.folder}` without {p.left_out}" for p in PACKAGES if p.left_out)
    return f"""# Stenopool beside its rivals: {results['machine']['cpu']}

Written by `{results['command']}` on {results['date']}. {results['machine']['cores']} cores; each server had core
{results['machine']['server_core']} to itself and one thread, the load test core {results['machine']['load_core']}. Everybody had the same
weights (the demo model), the same recordings ({rules['kinds']}: {rules['recordings']} files), the same people (seed
{rules['seed']}, speaking {100 * rules['duty']:.0f} % of the time, waiting for their text before they speak again) for {rules['duration']} s at each
load. {rules['rounds']} rounds, servers in turn within each; medians over the rounds. Stenopool {results['version']}.

Final latency runs from the last speech that was sent to the final text. Versions are those in the names{left_out}."""


def summary(results, ran):
    limits = results["rules"]["limits_ms"]
    head = ["server", "protocol", "p50, 1 person", "p95, 1 person", "word error, 1 person", "memory idle", "memory at most", "CPU, 1 person",
            *(f"people with p95 ≤ {limit / 1000:g} s" for limit in limits), *(f"knee at {limit / 1000:g} s" for limit in limits)]
    rows = [summary_row(results, rival, limits) for rival in ran]
    return ("## In short\n\n" + table(head, rows) + "\n\nLatencies in ms, memory (RSS) in MiB, CPU in percent of its core. *People with p95 ≤ …*: "
            "the largest load of the table below that kept the limit, whatever was lost. *Knee*: the most people of `loadtest knee`, "
            "where every load also has to pass without a lost utterance, an error, a refusal or a leak.")


def summary_row(results, rival, limits):
    kept, one = results["servers"][rival.key], at(results, rival.key, 1)
    loads = [report for rounds in kept["rounds"] for report in rounds.values()]
    most = max((dig(report, ("compare", "rss_bytes")) or 0 for report in loads), default=0)
    return [f"[{rival.name}](#notes)", rival.protocol, number(median_of(one, "final_latency_ms", "p50")), number(median_of(one, "final_latency_ms", "p95")),
            percent(median_of(one, "wer")), mebibytes(kept.get("idle_rss_bytes")), mebibytes(most or None),
            percent(median_of(one, "compare", "cpu_share")), *(within(results, rival.key, limit) for limit in limits),
            *(knee_of(kept, limit) for limit in limits)]


def within(results, key, limit_ms):
    """The largest load up to which all kept the limit."""
    best = 0
    for people in results["rules"]["ladder"]:
        p95 = median_of(at(results, key, people), "final_latency_ms", "p95")
        if p95 is None or p95 > limit_ms:
            return str(best)
        best = people
    return f"{best} or more"


def knee_of(kept, limit_ms):
    curve = kept["knees"].get(str(limit_ms))
    if curve is None:
        return DASH
    if "failed" in curve:
        return f"{DASH} ({curve['failed'][:80]})"
    if curve.get("knee") is not None:
        return str(curve["knee"])
    good = curve.get("good")
    return "0" if not good else f"{good} or more"


def ladder(results, ran):
    loads = results["rules"]["ladder"]
    head = ["server", *(f"{people}" for people in loads)]
    rows = [[rival.name, *(rung(at(results, rival.key, people)) for people in loads)] for rival in ran]
    return ("## By the number of people\n\n" + table(head, rows) + "\n\nIn each cell: p50 / p95 of the final latency in ms, word error, and how many of "
            "all turns were lost. Empty: not tried, because the load before was already far beyond all limits, or time was over.")


def rung(reports):
    if not reports:
        return ""
    if all("failed" in report for report in reports):
        return f"failed: {reports[0]['failed'][:60]}"
    told = [report for report in reports if "failed" not in report]
    p50, p95 = (number(median_of(told, "final_latency_ms", quantile)) for quantile in ("p50", "p95"))
    lost, turns = (sum(report.get(name) or 0 for report in told) for name in ("lost_utterances", "turns"))
    return f"{p50} / {p95}, {percent(median_of(told, 'wer'))}, {lost}/{turns} lost"


def troubles(results, ran):
    """What else the load test counted against somebody, and where it told no latency."""
    lines = []
    for rival in ran:
        loads = [(people, report) for rounds in results["servers"][rival.key]["rounds"] for people, report in rounds.items()]
        for name in ("leaks", "rejected"):
            if total := sum(report.get(name) or 0 for _, report in loads):
                lines.append(f"- {rival.name}: {name} {total}")
        errors = {}
        for _, report in loads:
            for code, count in (report.get("errors") or {}).items():
                errors[code] = errors.get(code, 0) + count
        lines += [f"- {rival.name}: `{code}` {count}" for code, count in sorted(errors.items())]
        lines += [f"- {rival.name}, {people}: no latency, {report['unpublished']}" for people, report in loads if report.get("unpublished")]
    return "## Errors, refusals, leaks\n\n" + "\n".join(lines) if lines else ""


def absent(results, shown, ran):
    why = [(rival.name, results["servers"][rival.key]["failed"] or "time was over") for rival in shown if rival not in ran]
    rows = [[name, reason.replace("|", "\\|")] for name, reason in [*why, *ABSENT]]
    return "## Who is not in the tables, and why\n\n" + table(["server", "why"], rows)


def notes(ran):
    lines = [f"- **{rival.name}.** {' '.join(rival.notes)}" for rival in ran]
    return "## Notes\n\n" + "\n".join(lines)


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def percent(share):
    return number(None if share is None else 100 * share, "{:.0f} %")


def mebibytes(count):
    return number(None if count is None else count / 2**20)
