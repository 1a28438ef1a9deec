"""sim.scenario_rules: rows that are checked, enriched and reworked on their way, also over a hop. *scenario_rules* → scenarios."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.flow.ports import Answerer
from stream_infer.records import Numbers, Text

RULES = """
name: sim-rules
format: 1
limits: {rows_in_flight_max: 20, wait_ms_max: 50}
streams:
  payments: {topic: rules-payments, schema: payment, key: card, id: payment, event_time: at_ms, partitions: 2}
  scores:   {topic: rules-scores, partitions: 2}
models:
  probe:
    kind: linear
    artifact: none.safetensors
    inputs: [amount, card_n, {name: card_sum, missing: -7}, risk, shop_n, {name: shop_sum, missing: -7}]
stages:
  checked: {kind: function, from: payments, function: checked, reads: [amount, shop]}
  spend:
    kind: features
    from: checked
    group_by: card
    values: {card_n: {count: true, window_s: 10, hops: 5}, card_sum: {sum: amount, window_s: 10}}
  rated: {kind: function, from: spend, function: rated, reads: [amount, card_n, shop], gives: {risk: number, band: text}}
  shop_load: {kind: features, from: rated, group_by: shop, values: {shop_n: {count: true, window_s: 8, hops: 4}, shop_sum: {sum: amount}}}
  score: {kind: model, from: shop_load, model: probe, where: amount >= 1}
  noted: {kind: function, from: score, function: noted, reads: [answer, risk, band], gives: {note: text, flagged: boolean}}
  out: {kind: emit, from: noted, to: scores, carry: [note, flagged], commit_interval_ms: 20}
"""


def _checked(call: Call) -> CallDone:
    """Small payments of the first shop are rejected; the very small ones, which nobody answers, pass."""
    amount, shop = call.columns["amount"].to_list(), call.columns["shop"].to_list()
    odd = [row for row in range(call.count) if shop[row] == "shop-0" and 1 <= float(str(amount[row])) < 8]
    return CallDone(call.job, {}, dict.fromkeys(odd, "too small for this shop"))


def _rated(call: Call) -> CallDone:
    amount, count = (np.array(call.columns[name].to_list(), dtype=np.float64) for name in ("amount", "card_n"))
    risk = np.round(amount * (count + 1), 1)
    return CallDone(call.job, {"risk": Numbers(risk), "band": Text.of("high" if one > 60 else "low" for one in risk.tolist())}, {})


def _noted(call: Call) -> CallDone:
    """High risks of large payments must not leave."""
    band, answer = call.columns["band"].to_list(), np.array(call.columns["answer"].to_list(), dtype=np.float64)
    refused = [row for row in range(call.count) if band[row] == "high" and answer[row] > 35]
    notes = Text.of(f"{word} {one:.1f}" for word, one in zip(band, answer.tolist(), strict=True))
    return CallDone(call.job, {"note": notes, "flagged": Numbers(answer > 30)}, dict.fromkeys(refused, "too risky"))


RULES_CALLS: Mapping[str, Answerer] = {"checked": _checked, "rated": _rated, "noted": _noted}
