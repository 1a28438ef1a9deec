"""cli_plan: `stream-infer plan`: how many workers a rate needs, and how late the answers will be."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from stream_infer.topology.plan import Plan

ENDLESS = 1e12  # no rate, time or number of anything is as large


def plan_arguments(plan: argparse.ArgumentParser) -> None:
    """What the command takes, but --admit."""
    plan.add_argument("topology", type=Path)
    plan.add_argument("--rate", type=_positive, required=True, metavar="ROWS_PER_SECOND")
    plan.add_argument("--slo-ms", type=_positive, required=True, help="99 of 100 answers are to be readable within so many ms")
    plan.add_argument("--producers", type=_count, default=1, metavar="COUNT", help="how many clients write the rows (default: 1)")
    plan.add_argument("--linger-ms", type=_not_negative, default=5.0, help="how long these gather rows: their linger.ms (default: 5)")
    plan.add_argument("--bootstrap", metavar="HOST:PORT", help="a broker to ask what its client costs (default: none)")
    plan.add_argument("--json", action="store_true", help="as JSON")
    plan.add_argument(
        "--call-ms",
        action="append",
        default=[],
        type=_stage_ms,
        metavar="STAGE=MS",
        help="how long those take to answer whom a stage asks outside",
    )


def say_plan(wanted: argparse.Namespace, plan: Plan) -> int:
    """Say it; exit code 1 where it cannot be met."""
    from stream_infer.batching.arrivals import Producers
    from stream_infer.edge.planning import planned, words
    from stream_infer.edge.registry import functions_of, model_classes

    found = planned(
        plan,
        model_classes(wanted.admit),
        functions_of(wanted.admit),
        None if wanted.bootstrap in (None, "none") else wanted.bootstrap,
        Producers(wanted.producers, wanted.linger_ms / 1e3),
        rate=wanted.rate,
        slo_ms=wanted.slo_ms,
        calls_ms=dict(wanted.call_ms),
    )
    print(json.dumps(found.json(), indent=1) if wanted.json else words(found), end="\n" if wanted.json else "")
    return 0 if found.forecast is not None else 1


def _stage_ms(text: str) -> tuple[str, float]:
    stage, _, ms = text.partition("=")
    return stage, _positive(ms)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < ENDLESS:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < ENDLESS:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return number


def _count(text: str) -> int:
    number = int(text)
    if not 0 < number < ENDLESS:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number
