"""The functions of rules.yaml: what may be ordered, what the model reads of it, and what a customer is told of the answer.

Admit them with `--admit topologies.rules.order_rules` (run from the repository's folder: `python -m stream_infer test …`).
"""

from __future__ import annotations

import math

import numpy as np

from stream_infer.functions import Given, Rejected, Values

ZONES = {"DE": "near", "FR": "near", "NL": "near", "US": "far", "JP": "far"}
DAY_MIN = 24 * 60


def check_order(order: Values) -> Values:
    """One order: refuse what cannot be delivered, name the zone of what can."""
    if order["weight_kg"] is None or float(str(order["weight_kg"])) <= 0:
        raise Rejected(f"weight_kg: got {order['weight_kg']}, expected more than 0")
    zone = ZONES.get(str(order["country"]))
    if zone is None:
        raise Rejected(f"country: got {order['country']}, expected one of: {', '.join(ZONES)}")
    return {"zone": zone}


def prepare(orders: Values) -> Values:
    """Columns of orders: what the model was trained on."""
    km, zone = np.asarray(orders["distance_km"]), np.array(orders["zone"])
    return {"road_km": np.where(zone == "near", 1.3 * km, 50.0), "flown_km": np.where(zone == "far", km, 0.0)}


def promise(answered: Values) -> Given:
    """Columns of answered orders: a promise in quarters of an hour; what takes longer than a day is for a human."""
    minutes = np.asarray(answered["answer"], dtype=np.float64)
    promised = [math.ceil(one / 15) * 15 for one in minutes.tolist()]
    words = [f"within {one // 60} h {one % 60:02} min" for one in promised]
    late = {row: f"{minutes[row]:.0f} min, more than a day" for row in np.flatnonzero(minutes > DAY_MIN).tolist()}
    return Given({"promised_min": promised, "words": words}, late)


STREAM_INFER_FUNCTIONS = {"check_order": check_order, "prepare": prepare, "promise": promise}
