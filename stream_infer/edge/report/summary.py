"""edge.report.summary: the report as text for a terminal, at most 40 lines of 80 columns. figures → *summary*."""

from __future__ import annotations

from collections.abc import Callable

from stream_infer.edge.report.figures import WHOLE, Figures
from stream_infer.edge.report.scales import duration, fixed, percent, three, times

BOLD, DIM, GREEN, RED, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
ARMS_SHOWN = 6
PERIODS_SHOWN = 2
NAME_WIDE = 34
_Paint = Callable[[str, str], str]


def summary(figures: Figures, *, colour: bool = False) -> str:
    """Lines without a trailing newline. colour: with ANSI colours, for a tty; the words say everything without them."""
    paint = _painted if colour else _bare
    whole = figures["error"][WHOLE]
    dates = f", {whole['begin'][:10]} to {whole['last'][:10]}" if figures["rows"] else ""
    out = [paint(f"{figures['name']}: {times(figures['rows'], 'row')} answered in {duration(figures['seconds'])}{dates}", BOLD)]
    for name, period in list(figures["error"].items())[:PERIODS_SHOWN]:
        out += ["", *_errors(figures, "the whole run" if name == WHOLE else name, period, paint)]
    return "\n".join([*out, "", *_facts(figures)])


def _errors(figures: Figures, name: str, period: Figures, paint: _Paint) -> list[str]:
    last = figures["propensities"]
    out = [paint(f"{_cut(name)}{'rows':>10}{'MAE ' + figures['unit']:>9}{'RMSE':>8}{'R2':>8}{'p last':>8}", DIM)]
    arms = list(period["arms"].items())
    out += [_line(f"  {arm}", found, percent(last[arm]["last"], 0) if arm in last else "") for arm, found in arms[:ARMS_SHOWN]]
    if len(arms) > ARMS_SHOWN:
        share = sum(figures["arm_shares"][arm]["share"] or 0.0 for arm, _ in arms[ARMS_SHOWN:])
        out.append(f"  and {len(arms) - ARMS_SHOWN} more, with {percent(share)} of the rows")
    base, gain = period["baseline"], period["improvement_percent"]
    if base is not None:
        out.append(_line(f"  {base['name']} (baseline, every row)", base))
    out.append(paint(_line("  answered", period["answered"]), BOLD))
    if gain is not None:
        low, high = period["improvement_percent_low"], period["improvement_percent_high"]
        sure = "" if low is None else f" (95 % interval {fixed(low)} to {fixed(high)})"
        better = gain >= 0
        words = f"  {fixed(abs(gain))} % {'smaller' if better else 'larger'} error than {base['name']}{sure}"
        out.append(paint(words, GREEN if better else RED))
    return out


def _cut(name: str) -> str:
    shown = name if len(name) <= NAME_WIDE else name[: NAME_WIDE - 1] + "\u2026"
    return f"{shown:<{NAME_WIDE}}"


def _line(name: str, found: Figures, last: str = "") -> str:
    numbers = f"{found['rows']:>10,}{three(found['mae']):>9}{three(found['rmse']):>8}{fixed(found['r2'], 3):>8}"
    return f"{_cut(name)}{numbers}{last:>8}".rstrip()


def _facts(figures: Figures) -> list[str]:
    speed, latency, feedback, batches = (figures[name] for name in ("throughput", "latency_ms", "feedback", "batches"))
    points = "  ".join(f"{name.replace('_', '.')} {three(latency[name])}" for name in ("p50", "p95", "p99", "p99_9", "max"))
    median, best = fixed(speed["records_per_second_median"], 0), fixed(speed["records_per_second_max"], 0)
    half = three(feedback["delay_min_median"])
    facts = {
        "throughput": f"{fixed(figures['records_per_second'], 0)} records/s (median second {median}, best {best})",
        "latency": f"{points} ms",
        "": figures["latency_of"],
        "batches": f"{batches['count']:,} of {three(batches['rows_mean'])} rows on average, largest {fixed(batches['rows_max'], 0)}",
        "feedback": f"{feedback['count']:,}, half within {half} min, never {percent(feedback['never_share'])}",
        "not used": f"{feedback['late']:,} late, {feedback['duplicate']:,} repeated, {feedback['unknown']:,} unknown feedback",
        "rejected": times(figures["rows_rejected"], "row"),
        "commits": f"{figures['commits']:,} ({figures['guarantee']}), {times(figures['restarts'], 'restart')}",
        "models": f"{times(figures['versions_published'], 'version')} published",
        "sha256": figures["sha256"] or "not taken",
    }
    return [f"{name:<12}{words}" for name, words in facts.items()]


def _bare(words: str, _code: str) -> str:
    return words


def _painted(words: str, code: str) -> str:
    return f"{code}{words}{PLAIN}"
