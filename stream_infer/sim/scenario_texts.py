"""sim.scenario_texts: topologies of which the scenarios are made. *scenario_texts* → scenarios."""

from __future__ import annotations

CARDS = """
name: sim-cards
format: 1
limits: {rows_in_flight_max: 20, wait_ms_max: 50}
streams:
  payments: {topic: cards-payments, schema: payment, key: card, id: payment, event_time: at_ms, partitions: 3}
  cards:    {topic: cards-cards, schema: card, key: card, event_time: at_ms, partitions: 3, compacted: true}
  scores:   {topic: cards-scores, partitions: 3}
models:
  probe:
    kind: linear
    artifact: none.safetensors
    inputs:
      - amount
      - n_10s
      - {name: sum_10s, missing: -7}
      - {name: mean_all, missing: -7}
      - {name: last_all, missing: -7}
      - {name: max_tumble, missing: -7}
      - limit
stages:
  spend:
    kind: features
    from: payments
    group_by: card
    values:
      n_10s: {count: true, window_s: 10, hops: 5}
      sum_10s: {sum: amount, window_s: 10, hops: 5}
      mean_all: {mean: amount}
      last_all: {last: amount}
      max_tumble: {max: amount, window_s: 7, shape: tumbling}
  known: {kind: lookup, from: spend, table: cards, key: card, take: {limit: -1}}
  score: {kind: model, from: known, model: probe, where: amount >= 1}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 20}
"""

# ------------------------------------------------------------------------- panel: as cards, answered by an ensemble with a slow member

_PROBE = CARDS[CARDS.index("  probe:") : CARDS.index("stages:")]
_PANEL = "".join(_PROBE.replace("probe", name) for name in ("probe", "slow_probe", "spare")) + (
    "  panel: {kind: ensemble, members: {probe: 1, slow_probe: 3}, combine: weighted_mean, quorum: 1, wait_ms_max: 40, fallback: spare}\n"
)
PANEL = (
    CARDS.replace(_PROBE, _PANEL).replace("model: probe", "model: panel").replace("sim-cards", "sim-panel").replace(": cards-", ": panel-")
)
