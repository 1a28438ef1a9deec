"""edge.redis_held: what a test says that Redis holds, in place of Redis. redis_keys → *redis_held* → call_setup."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stream_infer.edge.redis_keys import keys_of
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.online_settings import RedisLookupSettings
from stream_infer.records import Numbers


def held(settings: RedisLookupSettings, rows: Mapping[str, Mapping[str, float]]) -> Callable[[Call], CallDone]:
    """Answers calls from what a test says that Redis holds: by key and name."""
    known = {key.encode(): [found.get(name, default) for name, default in settings.take] for key, found in rows.items()}

    def answer(call: Call) -> CallDone:
        keys = keys_of(settings.key, call.columns, escaped=False)
        found = [known.get(key or b"", settings.defaults()) for key in keys]
        matrix = np.array(found, dtype=np.float64).reshape(call.count, len(settings.take))
        return CallDone(call.job, {name: Numbers(matrix[:, place].copy()) for place, name in enumerate(settings.columns())}, {})

    return answer
