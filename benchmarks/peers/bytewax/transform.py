"""Bytewax: KafkaSource in batches of 1000, one numpy product for a batch, KafkaSink. peer → *transform*.

Run without a recovery store, as it is quickest: offsets are then kept nowhere, and a restart begins anew.
"""

from __future__ import annotations

import bytewax.operators as op
import numpy as np
import peer
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow

NAMES = [f"x{i}" for i in range(len(peer.WEIGHTS))]
WEIGHTS = np.array(peer.WEIGHTS)


def scored(messages: list[KafkaSourceMessage]) -> list[KafkaSinkMessage]:
    rows = [peer.from_bytes(message.value) for message in messages]
    x = np.array([[row[name] for name in NAMES] for row in rows])
    return [
        KafkaSinkMessage(message.key, peer.to_bytes({"id": row["id"], "at_ms": row["at_ms"], "score": score}))
        for message, row, score in zip(messages, rows, (x @ WEIGHTS + peer.BIAS).tolist(), strict=True)
    ]


flow = Dataflow("transform")
reads = {"fetch.queue.backoff.ms": "5"}
read = op.input("read", flow, KafkaSource([peer.BOOTSTRAP], [peer.IN], batch_size=1000, add_config=reads))
sink = KafkaSink([peer.BOOTSTRAP], peer.OUT, add_config={"linger.ms": str(peer.LINGER_MS)})
op.output("write", op.flat_map_batch("score", read, scored), sink)
