"""payments read: predictions as any Kafka consumer gets them: `python topologies/payments/read.py HOST:PORT`. payment-scores → *read*."""

from __future__ import annotations

import io
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from fastavro import parse_schema, schemaless_reader

HERE = Path(__file__).parent
SCORE = json.loads((HERE.parents[1] / "schemas" / "prediction.avsc").read_text())
OUTCOME = json.loads((HERE / "schemas" / "outcome.avsc").read_text())


def rows(bootstrap: str, topic: str, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All committed rows of a topic, as far as it goes now. Five bytes before each value name the schema; they are skipped."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "payments-read", "isolation.level": "read_committed", "enable.partition.eof": True,
        "enable.auto.commit": False,
    })  # fmt: skip
    parsed = parse_schema(schema)
    left = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
    while left:
        for message in consumer.consume(5000, 1.0):
            error, value = message.error(), message.value()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 — so the client names it
                left.discard(message.partition())
            elif error is not None:
                raise KafkaException(error)
            elif value is not None:
                row = schemaless_reader(io.BytesIO(value[5:]), parsed, None)
                assert isinstance(row, dict)
                yield row
    consumer.close()


def main(bootstrap: str) -> None:
    """The error of each hour's answers, against what became known of them."""
    fraud = {row["payment_id"]: bool(row["fraud"]) for row in rows(bootstrap, "payment-outcomes", OUTCOME)}
    losses: dict[str, list[float]] = defaultdict(list)
    for row in rows(bootstrap, "payment-scores", SCORE):
        if row["prediction_id"] in fraud:
            chance = row["answer"] if fraud[row["prediction_id"]] else 1 - row["answer"]
            losses[f"{row['event_time']:%Y-%m-%d %H}"].append(-math.log(max(chance, 1e-9)))
    print("hour             answers  log loss")
    for hour, found in sorted(losses.items()):
        print(f"{hour}:00 {len(found):10,} {sum(found) / len(found):9.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
