"""edge.report.tables: the numbers behind the charts, for readers who want them exact. figures → *tables* → page."""

from __future__ import annotations

from html import escape

from stream_infer.edge.report.figures import WHOLE, Figures
from stream_infer.edge.report.scales import MONTHS, fixed, percent, three, times
from stream_infer.edge.report.sections import arm_style, section

MONTHS_SHOWN = 12


def error_table(figures: Figures) -> str:
    """Errors of every arm, of the baseline and of what was answered, period by period."""
    unit = escape(figures["unit"])
    heads = (
        "",
        "rows judged",
        f"MAE, {unit}",
        f"RMSE, {unit}",
        "R²",
        "closer than baseline,<br>same rows",
        f"MAE had it<br>always answered, {unit}",
    )
    body = ""
    for name, period in figures["error"].items():
        title = "the whole run" if name == WHOLE else name
        dates = f'<span class="unit">{period["begin"][:10]} to {period["last"][:10]}</span>'
        body += f'<tr><th scope="rowgroup" colspan="{len(heads)}">{escape(title)} {dates}</th></tr>'
        for place, (arm, found) in enumerate(period["arms"].items()):
            body += _row(arm_style(place), arm, found, _gain(found["improvement_percent"]), three(found["mae_if_always"]))
        if period["baseline"] is not None:
            body += _row("base", f"{period['baseline']['name']} (baseline, every row)", period["baseline"], "", "")
        body += _row("ink", "answered", period["answered"], _gain(period["improvement_percent"]), "", style="total")
    words = (
        "Most numbers of an arm are about the rows that it answered itself, which are others for each arm. "
        "The last column makes the arms comparable: each row weighs one over its logged probability, which estimates the error on all rows."
    )
    return section("Errors, exactly", words, _table(heads, body))


def _row(colour: str, name: str, found: Figures, gain: str, always: str, *, style: str = "") -> str:
    cells = (f"{found['rows']:,}", three(found["mae"]), three(found["rmse"]), fixed(found["r2"], 3), gain, always)
    return f'<tr class="{style}"><td><i class="{colour}"></i>{escape(name)}</td>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _gain(gain: float | None) -> str:
    return "" if gain is None else f"{fixed(gain)} %"


def _table(heads: tuple[str, ...], body: str) -> str:
    head = "".join(f'<th scope="col">{words}</th>' for words in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def propensity_table(figures: Figures) -> str:
    """Propensities by month, and what each arm's share came to."""
    found, shares = figures["propensities"], figures["arm_shares"]
    months = sorted({month for arm in found.values() for month in arm["monthly"]})[-MONTHS_SHOWN:]
    heads = ("", "first", *[MONTHS[int(month[5:]) - 1] for month in months], "last", "share of rows")
    body = ""
    for place, (arm, values) in enumerate(found.items()):
        cells = [values["first"], *[values["monthly"].get(month) for month in months], values["last"], shares[arm]["share"]]
        row = "".join(f"<td>{percent(cell)}</td>" for cell in cells)
        body += f'<tr><td><i class="{arm_style(place)}"></i>{escape(arm)}</td>{row}</tr>'
    words = "The first and the last logged probability of each arm, and its mean in each month. Each column adds up to 100 %."
    return section("Probabilities, exactly", words, _table(heads, body))


def run_list(figures: Figures) -> str:
    """What the run was, and how to compare it with another."""
    feedback, latency = figures["feedback"], figures["latency_ms"]
    unused = f"{feedback['late']:,} too late, {feedback['duplicate']:,} repeated, {feedback['unknown']:,} unknown"
    points = ", ".join(f"{name.replace('_', '.')} {three(latency[name])}" for name in ("p50", "p95", "p99", "p99_9", "max"))
    items = {
        "Began": figures["began_at"],
        "Machine": figures["machine"],
        "Workers": f"{figures['workers']}, {times(figures['restarts'], 'restart')}",
        "Guarantee": f"{figures['guarantee']}, {times(figures['commits'], 'commit')}",
        "Rows": f"{figures['rows_read']:,} read, {figures['rows']:,} answered, {figures['rows_rejected']:,} rejected",
        "Latency": f"{points} ms, {figures['latency_of']}",
        "Feedback": f"{feedback['count']:,} used, {unused}",
        "Models": f"{times(figures['versions_published'], 'version')} published while running",
        "SHA-256": figures["sha256"],
    }
    body = "".join(f"<dt>{name}</dt><dd>{_value(name, words)}</dd>" for name, words in items.items() if words)
    words = (
        "The sum is taken over the bytes of all predictions in the order of their sources. "
        "Two runs have the same sum exactly when every prediction of theirs is the same."
    )
    return section("The run", words, f"<dl>{body}</dl>")


def _value(name: str, words: str) -> str:
    return f"<code>{escape(words)}</code>" if name == "SHA-256" else escape(words)
