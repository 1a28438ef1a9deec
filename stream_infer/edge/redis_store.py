"""edge.redis_store: what a topology writes to Redis, and the fence before it. redis_client → *redis_store* → projecting.

Redis is no part of a Kafka transaction, so what is written there follows the committed log, and may be written twice, by two
processes, by one that was asleep for an hour. The fence makes all of that harmless. Every record has a place in one order of all
records of its topic: the latest timestamp seen in its partition so far, then its partition, then its offset. In a partition that is
the order of offsets. A key keeps the place of the record it was written from, in its field `_from`, and takes only what stands
later. Hence the content of Redis is a function of the set of records that were written, whatever their order and repetition.

Beside the keys stands, for each partition, the position: the next offset, and the latest timestamp so far. It moves in the same
script as the keys, never back, and never over a gap: who comes with records from beyond it (Redis was emptied, or fell back to an
older copy) is told where to go on instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import redis

from stream_infer.edge.redis_keys import keys_of, texts_of
from stream_infer.online_settings import StoreSettings
from stream_infer.records import Column, Ints

FENCE = "_from"  # partition:offset:time, as the script writes it
ROWS_MAX = 256  # of one script: Redis does nothing else meanwhile

# KEYS: the position, then each row's. ARGV: from, to, begin, partition, time of the last record, ttl_ms or 0, number of fields, their
# names; then for each key offset, time, and the fields' values, "=" before each, "" where absent.
_SCRIPT = """
local held = redis.call('HMGET', KEYS[1], 'next', 'time')
local position = tonumber(held[1] or 0)
local from, to, begin, last = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
if from > math.max(position, begin) then return {-1, position, 0, 0} end
local partition, ttl, count = tonumber(ARGV[4]), tonumber(ARGV[6]), tonumber(ARGV[7])
local written, stale, refused = 0, 0, 0
local a = 8 + count
for k = 2, #KEYS do
  local offset, time = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  local kept = redis.pcall('HGET', KEYS[k], '_from')
  local newer = true
  if type(kept) == 'table' then
    newer = nil
  elseif kept then
    local p, o, t = string.match(kept, '^(%d+):(%d+):(%d+)$')
    if p then
      p, o, t = tonumber(p), tonumber(o), tonumber(t)
      if time ~= t then newer = time > t elseif partition ~= p then newer = partition > p else newer = offset > o end
    end
  end
  if newer == nil then
    refused = refused + 1
  elseif newer then
    local fields = {'_from', ARGV[4] .. ':' .. ARGV[a] .. ':' .. ARGV[a + 1]}
    for f = 1, count do
      local value = ARGV[a + 1 + f]
      if value ~= '' then
        fields[#fields + 1] = ARGV[7 + f]
        fields[#fields + 1] = string.sub(value, 2)
      end
    end
    redis.call('DEL', KEYS[k])
    redis.call('HSET', KEYS[k], unpack(fields))
    if ttl > 0 then redis.call('PEXPIREAT', KEYS[k], string.format('%.0f', time + ttl)) end
    written = written + 1
  else
    stale = stale + 1
  end
  a = a + 2 + count
end
if to > position then
  redis.call('HSET', KEYS[1], 'next', ARGV[2], 'time', string.format('%.0f', math.max(last, tonumber(held[2] or 0))))
end
return {written, math.max(position, to), stale, refused}
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one partition, in its order. begin, end: the offsets from which on, and up to which, nothing is missing; times: as fenced.

    values: by field, one text for each key.
    """

    partition: int
    begin: int
    end: int
    keys: list[bytes]
    offsets: list[int]
    times: list[int]
    values: list[list[bytes | None]]
    time: int  # the latest of the partition so far

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a batch. gap_at: where to go on instead, None where there is no gap; refused: keys that hold no hash."""

    written: int
    stale: int
    refused: int
    gap_at: int | None = None


class RedisStore:
    """Writes of one store stage. name: TOPOLOGY.STAGE; topic: whose records are written. Every method may raise redis_client.FAULTS."""

    def __init__(self, client: redis.Redis, name: str, topic: str, settings: StoreSettings) -> None:
        self.settings = settings
        self._client, self._name, self._topic = client, name, topic
        self._script = client.register_script(_SCRIPT)

    def position_key(self, partition: int) -> str:
        """Where the position of a partition stands."""
        return f"stream-infer:{self._name}:{self._topic}:{partition}"

    def position(self, partition: int) -> tuple[int, int] | None:
        """Next offset to write and the latest timestamp before it; None where nothing was written yet."""
        found: Sequence[bytes | None] = self._client.hmget(self.position_key(partition), ["next", "time"])  # type: ignore[assignment]
        return None if found[0] is None else (int(found[0]), int(found[1] or 0))

    def write(self, batch: Batch, log_begin: int) -> Written:
        """Write a batch and move the position, in one script. log_begin: the first offset that the log still holds."""
        fields = self.settings.fields
        columns = [[b"" if value is None else b"=" + value for value in column] for column in batch.values]
        each: Iterable[Any] = chain.from_iterable(zip(batch.offsets, batch.times, *columns, strict=True))
        ttl_ms = self.settings.ttl_ms or 0
        head: tuple[Any, ...] = (batch.begin, batch.end, log_begin, batch.partition, batch.time, ttl_ms, len(fields), *fields)
        answer: Any = self._script(keys=[self.position_key(batch.partition), *batch.keys], args=[*head, *each])
        written, position, stale, refused = answer
        return Written(0, 0, 0, position) if written < 0 else Written(written, stale, refused)


def batch_of(
    settings: StoreSettings, partition: int, span: tuple[int, int], offsets: Ints, times: Ints, columns: Mapping[str, Column], time: int
) -> Batch:
    """Rows of a partition to a batch: of several rows of one key only the last is written. times: running maxima; span: see Batch.

    Rows without a key are left out. time: the latest timestamp of all rows so far, those that are no rows included.
    """
    keys = keys_of(settings.key, columns, escaped=True)
    last = {key: row for row, key in enumerate(keys) if key is not None}
    rows = np.array(sorted(last.values()), dtype=np.int64)
    values = [texts_of(columns[field].take(rows)) for field in settings.fields]
    kept = [key for key in (keys[row] for row in rows.tolist()) if key is not None]
    return Batch(partition, *span, kept, offsets[rows].tolist(), times[rows].tolist(), values, time)
