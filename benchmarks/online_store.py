"""online_store: Redis beside a run: what a look-up costs a row, what an answer written there costs. µs per row, wall clock and our own CPU.

    python -m benchmarks.online_store

Against a redis-server of its own on loopback, in rounds in which every case runs once. `one trip per row` is what a client in a loop does.
What the network adds to a trip on a real one comes on top, per chunk here, per row there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import redis

from benchmarks.harness.bench import RESULTS, machine
from stream_infer.edge import devredis
from stream_infer.edge.answer_cache import AnswerCache
from stream_infer.edge.redis_lookup import RedisLookup
from stream_infer.edge.redis_store import ROWS_MAX, RedisStore, batch_of
from stream_infer.edge.workers import InProcess
from stream_infer.flow.commands import Forward
from stream_infer.models.answer_table import CacheSettings
from stream_infer.models.linear import LinearModel
from stream_infer.online_settings import KeyTemplate, RedisLookupSettings, RedisSettings, StoreSettings
from stream_infer.records import Column, Numbers, Text

KEYS = 20_000
ROWS = 256
CHUNKS = 20
URL = RedisSettings("${env:BENCH_REDIS_URL}", 5_000)
TAKE = tuple((f"f{i}", 0.0) for i in range(4))


def lookup(form: str, ttl_ms: int) -> RedisLookup:
    take = TAKE[:1] if form == "string" else TAKE
    key = KeyTemplate.of(f"{form}:{{user}}")
    return RedisLookup(form, RedisLookupSettings(URL, key, form, take, ttl_ms=ttl_ms, cached_max=KEYS))


def users(draw: np.random.Generator, rows: int) -> Text:
    return Text.of([f"user-{n}" for n in draw.integers(0, KEYS, rows)])


def cases(url: str) -> dict[str, Callable[[], int]]:
    """What is timed, each giving the rows it worked on."""
    client: Any = cast("Any", redis.Redis.from_url(url, protocol=2))
    fill(client)
    draw = np.random.default_rng(0)
    chunks = [users(draw, ROWS) for _ in range(CHUNKS)]
    names = [name for name, _ in TAKE]

    def looked_up(form: str, ttl_ms: int = 0) -> Callable[[], int]:
        kept = lookup(form, ttl_ms)
        if ttl_ms:
            for chunk in chunks:
                kept.answer({"user": chunk}, ROWS)

        def run() -> int:
            for chunk in chunks:
                kept.answer({"user": chunk}, ROWS)
            return ROWS * CHUNKS

        return run

    def by_row() -> int:
        for user in chunks[0].raw():
            client.hmget(b"hash:" + (user or b""), names)
        return ROWS

    settings = StoreSettings(URL, KeyTemplate.of("kept:{user}"), ("answer", "arm"))
    at = [0]

    def stored() -> int:
        store = RedisStore(client, "bench.store", "answers", settings)
        for chunk in chunks:
            begin = at[0]
            at[0] += ROWS_MAX
            columns: dict[str, Column] = {"user": chunk, "answer": Numbers(np.arange(float(ROWS))), "arm": Text.of(["a"] * ROWS)}
            offsets, times = np.arange(begin, begin + ROWS), np.full(ROWS, begin)
            store.write(batch_of(settings, 0, (begin, begin + ROWS), offsets, times, columns, begin), 0)
        return ROWS * CHUNKS

    return {
        "look-up, hash, one trip per row": by_row,
        "look-up, hash, one trip per chunk": looked_up("hash"),
        "look-up, json, one trip per chunk": looked_up("json"),
        "look-up, string, one trip per chunk": looked_up("string"),
        "look-up, remembered": looked_up("hash", 3_600_000),
        "store, one script per 256 answers": stored,
        **remembered(),
    }


def remembered() -> dict[str, Callable[[], int]]:
    """A linear model with and without answers from memory: what a hit costs; a model worth remembering costs a hundred times as much."""
    draw = np.random.default_rng(1)
    model = LinearModel(draw.normal(size=(32, 1)), np.zeros(1), np.zeros(32), np.ones(32), "identity")
    rows = draw.normal(size=(2_000, 32)).astype(np.float32)
    picks = [draw.integers(0, 2_000, ROWS) for _ in range(CHUNKS)]
    plain, cache = InProcess({"m": model}), AnswerCache(InProcess({"m": model}), {"m": CacheSettings(20_000)})
    job = [0]

    def asked(of: InProcess | AnswerCache) -> Callable[[], int]:
        def run() -> int:
            for pick in picks:
                job[0] += 1
                of.submit(Forward(job[0], "m", 0, rows[pick]))
                of.finished(1000)
            return ROWS * CHUNKS

        return run

    return {"linear model of 32 inputs": asked(plain), "the same, answers remembered": asked(cache)}


def fill(client: Any) -> None:
    values = {name: "0.123456" for name, _ in TAKE}
    with client.pipeline(transaction=False) as pipeline:
        for number in range(KEYS):
            pipeline.hset(f"hash:user-{number}", mapping=values)
            pipeline.set(f"json:user-{number}", json.dumps(values))
            pipeline.set(f"string:user-{number}", "0.123456")
        pipeline.execute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    wanted = parser.parse_args()
    with devredis.running() as server:
        os.environ["BENCH_REDIS_URL"] = server.url
        made = cases(server.url)
        wall: dict[str, list[float]] = {name: [] for name in made}
        cpu: dict[str, list[float]] = {name: [] for name in made}
        for number in range(wanted.rounds + 1):  # the first one compiles and connects
            for name, run in made.items():
                began, used = time.perf_counter(), time.process_time()
                rows = run()
                if number:
                    wall[name].append(1e6 * (time.perf_counter() - began) / rows)
                    cpu[name].append(1e6 * (time.process_time() - used) / rows)
    out = {name: {"wall_us": statistics.median(wall[name]), "cpu_us": statistics.median(cpu[name])} for name in made}
    for name, figures in out.items():
        print(f"{name:<40}{figures['wall_us']:8.2f} µs wall {figures['cpu_us']:8.2f} µs CPU")
    (RESULTS / "online_store.json").write_text(json.dumps({"machine": machine(), "rows": ROWS, "us_per_row": out}, indent=1) + "\n")


if __name__ == "__main__":
    main()
