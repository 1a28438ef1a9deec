"""topology.plan: what a checked topology means to the machine. spec → *plan* → flow.

A plan is a list of sections. All inputs of a section are co-partitioned (or global), so section and partition together
name a task: one owner, one order, one piece of state. Sections speak to each other through internal topics.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_infer.attribution import AttributionSettings
from stream_infer.decide.composed import Composed
from stream_infer.decide.settings import DeadlineSettings, PolicySettings, Where
from stream_infer.features.settings import FeatureSettings, LookupSettings
from stream_infer.feedback_settings import FeedbackSettings
from stream_infer.functions import FunctionSettings
from stream_infer.models.settings import ModelSettings
from stream_infer.online_settings import RedisLookupSettings, StoreSettings


@dataclass(frozen=True)
class DecideAt:
    """Rows wait in event time until `field` (ms since 1970) minus lead_ms."""

    field: str
    lead_ms: int


@dataclass(frozen=True)
class StreamPlan:
    """One topic of rows. schema: the text of its Avro schema; schema_ids: further writers' schemas by Confluent id."""

    name: str
    topic: str
    schema: str
    partitions: int
    key: str | None = None
    id: str | None = None
    event_time: str | None = None
    format: str = "avro"
    framing: str = "confluent"
    schema_ids: tuple[tuple[int, str], ...] = ()
    decide_at: DecideAt | None = None
    late_after_ms: int | None = None
    future_after_ms: int | None = None
    compacted: bool = False
    record_bytes_max: int = 1_000_000


@dataclass(frozen=True)
class InputPlan:
    """One stream a section reads. is_global: every task reads all its partitions; otherwise task p reads partition p.

    rank: ties in event time are broken by it (then partition, then offset). sources: how many upstream tasks write into each
    partition (0: an ordinary topic, one order per partition).
    """

    stream: str
    rank: int
    is_global: bool = False
    sources: int = 0


@dataclass(frozen=True)
class FeatureStep:
    """Rows of kept_from update the state of key kept_by; rows of the flowing stream read the state of key read_by."""

    name: str
    kept_from: str
    kept_by: str
    read_by: str
    settings: FeatureSettings


@dataclass(frozen=True)
class LookupStep:
    """Rows of `table` (key table_key) are remembered; flowing rows take fields of the row with their read_by."""

    name: str
    table: str
    table_key: str
    read_by: str
    settings: LookupSettings


@dataclass(frozen=True)
class RepartitionStep:
    """Flowing rows go on to `stream` (an internal topic) under the key `by`; the next section reads them there."""

    name: str
    stream: str
    by: str


@dataclass(frozen=True)
class CallStep:
    """Flowing rows go outside with the columns `reads` and come back with `gives`, names and Avro kinds.

    of_answers: answered rows go, after the decide step of the section; fields of predictions are columns of theirs.
    """

    name: str
    reads: tuple[str, ...]
    gives: tuple[tuple[str, str], ...]
    settings: FunctionSettings | RedisLookupSettings
    of_answers: bool = False


@dataclass(frozen=True)
class DecideStep:
    """One of `arms` (names of models) answers each row that passes `where`; `shadows` run on every such row and only leave a mark.

    Both may be composed. With a deadline whose `late` is fallback, the last arm is the fallback; the policy gives it no share.
    """

    name: str
    arms: tuple[str, ...]
    policy: PolicySettings
    where: Where | None = None
    shadows: tuple[str, ...] = ()
    emits_to: str | None = None  # the stream of predictions
    deadline: DeadlineSettings | None = None


@dataclass(frozen=True)
class ExplainStep:
    """Of the answers of the step `decides`, a share (0 to 1, by the hash of their ids) is explained; explanations go to the stream `to`.

    rows_max: of one chunk, those with the smallest hashes first; top_k: only so many inputs are told, None: all.
    """

    name: str
    decides: str
    to: str
    settings: AttributionSettings
    share: float
    rows_max: int
    top_k: int | None = None


@dataclass(frozen=True)
class ShadowStep:
    """A share of the answers of the step `decides` is given by `model` as well, and goes to the stream `to` only."""

    name: str
    decides: str
    model: str
    share: float
    to: str


@dataclass(frozen=True)
class FeedbackStep:
    """Rows of `feedback` meet the decisions of the step `decides`; joined rows go to the internal stream joined_to."""

    name: str
    decides: str
    feedback: str
    settings: FeedbackSettings
    joined_to: str


@dataclass(frozen=True)
class LearnStep:
    """The learn section's only step: policies (decide steps) and models that learn, from the joined rows of `outcome`."""

    name: str
    outcome: str
    policy_of: str
    models: tuple[str, ...]
    every_ms: int


Step = FeatureStep | LookupStep | RepartitionStep | CallStep | DecideStep | ExplainStep | ShadowStep | FeedbackStep | LearnStep


@dataclass(frozen=True)
class SectionPlan:
    """flowing: the input stream whose rows pass through the steps; other inputs only update state or bring feedback."""

    name: str
    partitions: int
    flowing: str
    inputs: tuple[InputPlan, ...]
    steps: tuple[Step, ...]
    state_topic: str

    def input(self, stream: str) -> InputPlan:
        """The input that reads this stream."""
        return next(i for i in self.inputs if i.stream == stream)


@dataclass(frozen=True)
class EmitPlan:
    """How answers leave. commit_interval_ms: the longest that finished work stays invisible while there is more to do."""

    guarantee: str = "exactly_once"  # or at_least_once
    commit_interval_ms: int = 100
    rejects_topic: str = ""


@dataclass(frozen=True)
class StorePlan:
    """Rows of `stream`, which the topology writes, are kept in Redis for others, newest per key, behind the run."""

    name: str
    stream: str
    settings: StoreSettings


@dataclass(frozen=True)
class TestPlan:
    """A broker-free test of the topology: rows per stream in, expectations per output stream."""

    name: str
    given: dict[str, list[dict[str, object]]]
    expect: dict[str, list[dict[str, object]]]
    redis: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)  # what it holds: by lookup stage, key and name


@dataclass(frozen=True)
class Plan:
    """Everything `run` needs. streams: by name, users' and internal; topics: (topic, partitions, compacted) that we create."""

    name: str
    streams: dict[str, StreamPlan]
    models: dict[str, ModelSettings]
    sections: tuple[SectionPlan, ...]
    emit: EmitPlan
    topics: tuple[tuple[str, int, bool], ...]
    models_topic: str = ""
    decisions_topic: str = ""
    cuts_topic: str = ""
    changes_topic: str = ""
    rows_in_flight_max: int = 20_000
    wait_ms_max: int = 200
    client: dict[str, str] = field(default_factory=dict)
    tests: tuple[TestPlan, ...] = ()
    stores: tuple[StorePlan, ...] = ()
    base: str = "."  # folder that artifacts are relative to
    composed: dict[str, Composed] = field(default_factory=dict)  # models that are made of others; `models` are the ones that are loaded
