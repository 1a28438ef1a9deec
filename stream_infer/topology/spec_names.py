"""topology.spec_names: types of settings that several sections share. shape → *spec_names* → the tables."""

from __future__ import annotations

import json

from stream_infer.codec.internal import PREDICTION, PREDICTION_COMPOSED
from stream_infer.topology.shape import (
    integer,
    number,
    text,
)

# Names at the left margin become topic names, metric labels and column names, so they must be legal in all three.
NAME = text(pattern=r"[a-z][a-z0-9_]{0,63}", words="a name of lower-case letters, digits and _, such as origin_now")
TOPIC = text(pattern=r"[a-zA-Z0-9._-]{1,200}", words="a Kafka topic name: letters, digits, dot, _ and -")
FIELD = text(names=("field",))
PATH = text(pattern=r".+", words="a path below the folder of the topology")
SECONDS = number(above=0, high=1e9)  # 1e9 s are 31 years: more is a slip of the unit
MS = integer(low=1, high=86_400_000)
KEYS = integer(low=1, high=1_000_000_000)
ROWS_FROM = text(names=("stream", "features stage", "lookup stage", "function stage"))
DECIDERS = ("model", "bandit", "split", "canary")  # kinds of stages that answer rows
DECIDER = text(names=tuple(f"{kind} stage" for kind in DECIDERS))
ANSWERED = text(names=(*(f"{kind} stage" for kind in DECIDERS), "function stage"))
PREDICTION_FIELDS: tuple[str, ...] = tuple(field["name"] for field in json.loads(PREDICTION)["fields"])
_ALL = json.loads(PREDICTION)["fields"] + json.loads(PREDICTION_COMPOSED)
WHOLE_PREDICTION = json.dumps({**json.loads(PREDICTION), "fields": _ALL})  # with what only composed models tell
ANSWER_FIELDS: tuple[str, ...] = tuple(field["name"] for field in _ALL)

KIND_DOC = "what the stage does"
