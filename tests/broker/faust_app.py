"""A Faust app whose one agent asks the bridge; started by test_faust.py: faust_app.py BOOTSTRAP NAME TOPOLOGY DATA WORKER."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import faust

from stream_infer.edge.faust_bridge import attach
from stream_infer.edge.host import RunSettings

bootstrap, name, topology, data, hosted = sys.argv[1:6]
app = faust.App(
    f"{name}-app",
    broker=f"kafka://{bootstrap}",
    datadir=data,
    topic_disable_leader=True,
    topic_replication_factor=1,
    broker_session_timeout=3.0,
    broker_heartbeat_interval=0.5,
    broker_commit_interval=0.3,
    web_enabled=False,
)
bridge = attach(app, topology, worker=RunSettings(bootstrap, slot="faust") if hosted == "worker" else None, measure=False)
source = app.topic(f"{name}-asked", value_serializer="json", key_type=bytes)
target = app.topic(f"{name}-told", value_serializer="json", key_type=bytes)


@app.agent(source)
async def ask(stream: Any) -> None:
    async for row in stream:
        found = await bridge.predict("twice", row)
        await (await target.send(value={"number": row["number"], "answer": found.answer, "version": found.version}))


if __name__ == "__main__":
    sys.argv = [str(Path(__file__)), "worker", "-l", "warn", "--without-web"]
    app.main()
