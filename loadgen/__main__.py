"""loadgen command: `python -m loadgen flights --bootstrap localhost:9092 --flat-out`. wiring, flights, synthetic, drawn → merge → send."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import KafkaException

from loadgen import drawn, flights, synthetic
from loadgen.merge import MergedLog
from loadgen.openloop import Kept, send_on_schedule
from loadgen.send import Report, ensure_topics, send_flat_out, send_paced
from loadgen.tables import Table
from loadgen.wiring import Wire, read_wires
from stream_infer.errors import EnvironmentMissing
from stream_infer.records import Numbers

FOREVER_MS = 1 << 62
OPEN_LOOP_AHEAD_MS = 5000  # to encode half a million payments before the first is due


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    wanted = _parser().parse_args(arguments)
    try:
        wires = read_wires(wanted.topology)
        report = _send(_tables(wanted, wires), wires, wanted)
    except EnvironmentMissing as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KafkaException as error:
        print(f"the broker at {wanted.bootstrap} does not answer as it should: {error}", file=sys.stderr)
        return EnvironmentMissing.exit_code
    print(report)
    return 1 if report.lost or (isinstance(report, Kept) and not report.valid) else 0


def _tables(wanted: argparse.Namespace, wires: dict[str, Wire]) -> dict[str, Table]:
    if wanted.events == "flights":
        return flights.tables()
    if wanted.events == "payments":
        return synthetic.payments(_payment_settings(wanted)).tables
    settings = drawn.DrawnSettings(rate=wanted.rate, duration_s=wanted.duration_s, keys=wanted.keys, seed=wanted.seed)
    return drawn.tables(wanted.topology, wires, settings)


def _send(tables: dict[str, Table], wires: dict[str, Wire], wanted: argparse.Namespace) -> Report | Kept:
    absent = [name for name in tables if name not in wires]
    if absent:
        what = f"{wanted.topology} has no streams for these events"
        raise EnvironmentMissing(what, got=", ".join(sorted(wires)), expected=", ".join(tables), fix="name the topology that reads them")
    # A table's rows are needed from its beginning on, whenever the events begin.
    begins = {name: 0 if wires[name].compacted else wanted.begin for name in tables}
    ensure_topics(wanted.bootstrap, [wires[name] for name in tables])
    if wanted.open_loop:
        return _send_now(tables["payments"], wires["payments"], wanted.bootstrap)
    log = MergedLog({name: table.between(begins[name], wanted.end) for name, table in tables.items()}, wires)
    if wanted.flat_out:
        return send_flat_out(wanted.bootstrap, log)
    return send_paced(wanted.bootstrap, log, wanted.speed_up)


def _send_now(payments: Table, wire: Wire, bootstrap: str) -> Kept:
    """Payments alone, each paid at the moment that it is due to leave, beginning when all of them are encoded."""
    if wire.framing == "header":
        fix = "change the topology"
        raise EnvironmentMissing("--open-loop sends no headers", got="framing: header", expected="confluent or bare", fix=fix)
    begin_ms = round(time.time() * 1000) + OPEN_LOOP_AHEAD_MS
    paid_at = payments.event_time - payments.event_time[:1] + begin_ms
    columns = payments.columns | {"paid_at_ms": Numbers(paid_at)}
    log = MergedLog({"payments": Table(paid_at, columns, payments.key)}, {"payments": wire})
    piece = log.piece(0, len(log))
    return send_on_schedule(bootstrap, wire.topic, piece.keys, piece.values, paid_at * 1000)


def _payment_settings(wanted: argparse.Namespace) -> synthetic.PaymentSettings:
    return synthetic.PaymentSettings(
        rate=wanted.rate, duration_s=wanted.duration_s, cards=wanted.cards, cards_zipf=wanted.cards_zipf, seed=wanted.seed
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadgen", description="Send events to Kafka, each at its own time or flat out.")
    kinds = parser.add_subparsers(dest="events", required=True)
    year = kinds.add_parser("flights", help="the flights of New York in 2013: 1,022,080 records")
    cards = kinds.add_parser("payments", help="made-up payments whose true answer is known")
    defaults = synthetic.PaymentSettings()
    cards.add_argument("--rate", type=float, default=defaults.rate, help="payments per second of event time (default: %(default)s)")
    cards.add_argument("--duration-s", type=float, default=defaults.duration_s, help="seconds of event time (default: %(default)s)")
    cards.add_argument("--cards", type=int, default=defaults.cards, help="how many keys (default: %(default)s)")
    cards.add_argument(
        "--cards-zipf", type=float, default=defaults.cards_zipf, help="0: all keys equal; 1.1: a few busy ones (default: %(default)s)"
    )
    cards.add_argument("--seed", type=int, default=defaults.seed, help="(default: %(default)s)")
    rows = kinds.add_parser("rows", help=f"made-up rows for a topology with a {drawn.FILE} beside it")
    plain = drawn.DrawnSettings()
    rows.add_argument("--rate", type=float, default=plain.rate, help="rows per second of event time (default: %(default)s)")
    rows.add_argument("--duration-s", type=float, default=plain.duration_s, help="seconds of event time (default: %(default)s)")
    rows.add_argument("--keys", type=int, default=plain.keys, help="how many (default: %(default)s)")
    rows.add_argument("--seed", type=int, default=plain.seed, help="(default: %(default)s)")
    for kind in (year, rows, cards):
        kind.add_argument("--bootstrap", required=True, metavar="HOST:PORT", help="the broker")
        kind.add_argument("--from", dest="begin", type=_instant, default=0, metavar="TIME", help="first event time, such as 2013-07-01")
        kind.add_argument("--to", dest="end", type=_instant, default=FOREVER_MS, metavar="TIME", help="event time before which to stop")
        pace = kind.add_mutually_exclusive_group()
        pace.add_argument("--speed-up", type=_speed, default=1.0, metavar="N", help="time runs N times as fast as then (default: 1)")
        pace.add_argument("--flat-out", action="store_true", help="as fast as the broker takes it")
        kind.set_defaults(open_loop=False)
    # pace is the group of the payments here: what was long ago cannot be dated anew
    pace.add_argument("--open-loop", action="store_true", help="from now on, each dated when it was due to leave; for latencies")
    year.add_argument(
        "--topology", type=Path, default=Path("topologies/flights/flights.yaml"), help="whose streams to fill (default: %(default)s)"
    )
    cards.add_argument("--topology", type=Path, required=True, help="whose streams `payments` and `outcomes` to fill")
    rows.add_argument("--topology", type=Path, required=True, help="whose streams to fill")
    return parser


def _instant(text: str) -> int:
    """Milliseconds since 1970 of an ISO date or time; UTC where it names no zone."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _speed(text: str) -> float:
    speed = float(text)
    if not speed > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return speed


if __name__ == "__main__":
    sys.exit(main())
