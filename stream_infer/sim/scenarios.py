"""sim.scenarios: topologies that `stream-infer sim` runs, each with the events that feed it. chance → *scenarios* → world.

Between them they hold every kind of stage and of input: own, kept, global and repartitioned features; tables that are local, global, or
both; rows that wait; a bandit that learns by segment, and a learner, taught by feedback that is early, late, repeated or unknown. Their
models answer with their own inputs, so that a prediction shows every feature it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stream_infer.flow.ports import Answerer
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.sim.chance import Chance
from stream_infer.sim.scenario_rules import RULES, RULES_CALLS
from stream_infer.sim.scenario_texts import CARDS, PANEL
from stream_infer.topology.build import load
from stream_infer.topology.plan import Plan

BEGAN_MS = 1_700_000_000_000  # event time of the first event; the simulated clock begins at 0


@dataclass(frozen=True, slots=True)
class Event:
    """What a producer sends at at_ms of the simulated clock. row None: a tombstone. spoil: what to do to the encoded value, if anything."""

    at_ms: int
    stream: str
    key: str
    row: Mapping[str, object] | None
    spoil: str = ""  # cut | junk | empty


@dataclass(frozen=True)
class Scenario:
    """A topology, its schemas by path, and a function of chance and a number of events that makes them, in any order.

    calls: what its calling stages do, by stage.
    """

    name: str
    text: str
    schemas: Mapping[str, str]
    make: Callable[[Chance, int], list[Event]]
    arms: tuple[str, ...] = ()
    calls: Mapping[str, Answerer] = field(default_factory=dict)

    def plan(self) -> Plan:
        """The checked plan."""
        return load(self.text, f"{self.name}.yaml", self.schemas.get)

    def models(self, plan: Plan) -> dict[str, Model]:
        """Models that show their inputs; those that learn begin with zeros."""
        return {
            name: LinearModel.zeros(settings.columns(), "identity") if settings.learns is not None else probe(settings.columns(), name)
            for name, settings in plan.models.items()
        }

    def events(self, seed: int, count: int) -> list[Event]:
        """Events in the order in which they are sent, with late, repeated and undecodable ones among them."""
        chance = Chance(seed, 1)
        sent = list(self.make(chance, count))
        for event in list(sent):
            if chance.happens(0.03):  # a producer that tries again, soon or after a while
                sent.append(replace(event, at_ms=event.at_ms + chance.pick((1, 40, 2_000))))
            if event.row is not None and chance.happens(0.03):
                sent.append(replace(event, at_ms=event.at_ms + chance.below(100), spoil=chance.pick(("cut", "junk", "empty"))))
        return sorted(sent, key=lambda event: event.at_ms)


def probe(columns: tuple[str, ...], name: str) -> LinearModel:
    """Answers with its inputs, the first of them as the answer; models of different names have different digests."""
    wide = len(columns)
    weights = np.eye(wide, wide + 1)
    bias = np.zeros(wide + 1)
    bias[wide] = sum(name.encode())
    return LinearModel(weights, bias, np.zeros(wide), np.ones(wide), "identity", columns)


def schema(name: str, **fields: str) -> str:
    """An Avro schema with these fields; a type that ends in ? may be null."""
    kinds = [{"name": f, "type": ["null", k[:-1]] if k.endswith("?") else k} for f, k in fields.items()]
    return json.dumps({"type": "record", "name": name, "fields": kinds})


def _delay(chance: Chance) -> int:
    """From the event to its record: mostly short, now and then far too long."""
    return chance.pick((0, 5, 20, 90)) if not chance.happens(0.05) else chance.between(1_000, 9_000)


# --------------------------------------------------------------------------------------------------- cards: own features, a table


def _cards(chance: Chance, count: int) -> list[Event]:
    events = []
    for number in range(count):
        now = number * 100 + chance.below(100)
        card = f"card-{chance.below(7)}"
        time = BEGAN_MS + now
        if chance.happens(0.2):
            row = None if chance.happens(0.25) else {"card": card, "limit": chance.below(100), "at_ms": time}
            events.append(Event(now + _delay(chance), "cards", card, row))
        else:
            paid = {"payment": f"p{number}", "card": card, "amount": chance.below(40_000) / 1000, "at_ms": time}
            events.append(Event(now + _delay(chance), "payments", card, paid))
    return events


# -------------------------------------------------------------------------------- flights: rows that wait, a bandit and its learner

FLIGHTS = """
name: sim-flights
format: 1
limits: {rows_in_flight_max: 20, wait_ms_max: 50}
streams:
  scheduled:
    topic: flights-scheduled
    schema: scheduled
    key: origin
    id: flight
    event_time: at_ms
    partitions: 2
    decide_at: {field: leaves_ms, lead_s: 2}
  departed:  {topic: flights-departed, schema: departed, key: origin, event_time: at_ms, partitions: 2}
  arrived:   {topic: flights-arrived, schema: arrived, key: origin, event_time: at_ms, partitions: 2}
  planes:    {topic: flights-planes, schema: plane, key: tail, event_time: at_ms, partitions: 2, compacted: true}
  predictions: {topic: flights-predictions, partitions: 2}
  rejects: {topic: flights-rejects, partitions: 1}
models:
  near:
    kind: linear
    artifact: near.safetensors
    inputs: [distance, {name: late_mean, missing: -7}, late_n, {name: tail_late, missing: -7}, {name: year, missing: 0}]
  far: {kind: linear, artifact: far.safetensors, inputs: [late_n, distance]}
  online: {kind: linear, learns: {by: sgd, rate: 0.01, l2: 0.0001}, inputs: [distance, late_n]}
stages:
  origin_now:
    kind: features
    from: scheduled
    kept_from: departed
    group_by: origin
    values:
      late_mean: {mean: late, window_s: 10, hops: 4}
      late_n: {count: true, window_s: 10, hops: 4}
  tail_now: {kind: features, from: origin_now, kept_from: arrived, group_by: tail, global: true, values: {tail_late: {last: late}}}
  plane: {kind: lookup, from: tail_now, table: planes, key: tail, global: true, take: {year: null}}
  eta:
    kind: bandit
    from: plane
    arms: [near, far, online]
    shadow: [near]
    policy: {maillard: {}}
    share_min: 0.05
    seed: 7
    segment: tail
    segment_prior_rows: 5
  outcome:
    kind: feedback
    predictions: eta
    feedback: arrived
    on: flight
    wait_s_max: 9
    early_s_max: 1
    take: sum
    feedback_id: report
    label: late
    reward: {closeness: {scale: 60}}
    absent: 5
  teach: {kind: learn, from: outcome, every_s: 6}
  out: {kind: emit, from: eta, to: predictions, rejects: rejects, commit_interval_ms: 20}
"""

ORIGINS = ("EWR", "JFK", "LGA", "BOS")


def _flights(chance: Chance, count: int) -> list[Event]:
    events = []
    for number in range(count // 4):
        now = number * 300 + chance.below(300)
        flight, tail, origin = f"f{number}", f"n{chance.below(6)}", chance.pick(ORIGINS)
        leaves = now + chance.between(500, 8_000)
        late = chance.below(90_000) / 1000
        told = {"flight": flight, "origin": origin, "tail": tail, "distance": float(chance.below(3000)), "leaves_ms": BEGAN_MS + leaves}
        events.append(Event(now + _delay(chance), "scheduled", origin, told | {"at_ms": BEGAN_MS + now}))
        left = leaves + chance.below(500)
        events.append(Event(left + _delay(chance), "departed", origin, {"origin": origin, "late": late, "at_ms": BEGAN_MS + left}))
        for report in range(chance.pick((0, 1, 1, 1, 2))):
            came = left + chance.pick((-2_500, 200, 3_000, 7_000, 14_000)) + chance.below(400)
            flown = {
                "flight": chance.pick((flight, flight, flight, flight, "unknown")),
                "origin": origin,
                "tail": tail,
                "late": late + report,
            }
            events.append(
                Event(came + _delay(chance), "arrived", origin, flown | {"report": f"r{number}.{report}", "at_ms": BEGAN_MS + came})
            )
        if chance.happens(0.3):
            made = None if chance.happens(0.2) else {"tail": tail, "year": 1980 + chance.below(40), "at_ms": BEGAN_MS + now}
            events.append(Event(now + _delay(chance), "planes", tail, made))
    first = min(event.at_ms for event in events)
    return [replace(event, at_ms=event.at_ms - min(first, 0)) for event in events]


# ---------------------------------------------------------- shops: rows change partition; a table both local and global; two feature keys

SHOPS = """
name: sim-shops
format: 1
limits: {rows_in_flight_max: 20, wait_ms_max: 50}
streams:
  payments: {topic: shops-payments, schema: payment, key: card, id: payment, event_time: at_ms, partitions: 2}
  cards:    {topic: shops-cards, schema: card, key: card, event_time: at_ms, partitions: 2, compacted: true}
  shops:    {topic: shops-shops, schema: shop, key: shop, event_time: at_ms, partitions: 3, compacted: true}
  scores:   {topic: shops-scores, partitions: 2}
models:
  probe:
    kind: linear
    artifact: none.safetensors
    inputs: [amount, card_n, {name: card_sum, missing: -7}, limit, rating, shop_n, {name: shop_sum, missing: -7}, again]
stages:
  spend:
    kind: features
    from: payments
    group_by: card
    values: {card_n: {count: true, window_s: 10, hops: 5}, card_sum: {sum: amount, window_s: 10}}
  known: {kind: lookup, from: spend, table: cards, key: card, take: {limit: -1}}
  shop_now: {kind: lookup, from: known, table: shops, key: shop, take: {rating: -1}}
  shop_load:
    kind: features
    from: shop_now
    group_by: shop
    values: {shop_n: {count: true, window_s: 8, hops: 4}, shop_sum: {sum: amount}}
  card_again: {kind: lookup, from: shop_load, table: cards, key: card, global: true, take: {again: -1}}
  score: {kind: model, from: card_again, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 20}
"""


def _shops(chance: Chance, count: int) -> list[Event]:
    events = []
    for number in range(count):
        now = number * 100 + chance.below(100)
        card, shop, time = f"card-{chance.below(6)}", f"shop-{chance.below(5)}", BEGAN_MS + now
        at = now + _delay(chance)
        kind = chance.below(10)
        if kind == 0:
            row = None if chance.happens(0.2) else {"card": card, "limit": chance.below(100), "again": chance.below(100), "at_ms": time}
            events.append(Event(at, "cards", card, row))
        elif kind == 1:
            row = None if chance.happens(0.2) else {"shop": shop, "rating": chance.below(6), "at_ms": time}
            events.append(Event(at, "shops", shop, row))
        else:
            paid = {"payment": f"p{number}", "card": card, "shop": shop, "amount": chance.below(40_000) / 1000, "at_ms": time}
            events.append(Event(at, "payments", card, paid))
    return events


_CARDS_SCHEMAS = {
    "payment": schema("Payment", payment="string", card="string", amount="double", at_ms="long"),
    "card": schema("Card", card="string", limit="int", at_ms="long"),
}
SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "cards",
            CARDS,
            _CARDS_SCHEMAS,
            _cards,
        ),
        Scenario(
            "panel",
            PANEL,
            _CARDS_SCHEMAS,
            _cards,
        ),
        Scenario(
            "flights",
            FLIGHTS,
            {
                "scheduled": schema(
                    "Scheduled", flight="string", origin="string", tail="string", distance="double", leaves_ms="long", at_ms="long"
                ),
                "departed": schema("Departed", origin="string", late="double", at_ms="long"),
                "arrived": schema("Arrived", flight="string", origin="string", tail="string", late="double", report="string", at_ms="long"),
                "plane": schema("Plane", tail="string", year="int", at_ms="long"),
            },
            _flights,
            ("near", "far", "online"),
        ),
        Scenario(
            "shops",
            SHOPS,
            {
                "payment": schema("Payment", payment="string", card="string", shop="string", amount="double", at_ms="long"),
                "card": schema("Card", card="string", limit="int", again="int", at_ms="long"),
                "shop": schema("Shop", shop="string", rating="int", at_ms="long"),
            },
            _shops,
        ),
        Scenario(
            "rules",
            RULES,
            {"payment": schema("Payment", payment="string", card="string", shop="string", amount="double", at_ms="long")},
            lambda chance, count: [event for event in _shops(chance, count) if event.stream == "payments"],
            calls=RULES_CALLS,
        ),
    )
}
