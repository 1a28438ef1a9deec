"""topology.build: a checked spec to the plan. check → *build* → flow, sim, edge."""

from __future__ import annotations

from stream_infer.codec.internal import JOINED, JOINED_BY_SEGMENT
from stream_infer.errors import TopologyError
from stream_infer.topology.build_composed import composed_models
from stream_infer.topology.build_online import store_plans
from stream_infer.topology.build_settings import model_settings
from stream_infer.topology.build_steps import build_section, learn_section
from stream_infer.topology.check import Checked, check
from stream_infer.topology.check_names import inputs_and_outputs
from stream_infer.topology.check_streams import Files
from stream_infer.topology.client import client_settings
from stream_infer.topology.emit_schema import written_schemas
from stream_infer.topology.hop_schema import AT_MS, hop_schema
from stream_infer.topology.parts import COMPOSED
from stream_infer.topology.placement import Draft
from stream_infer.topology.plan import DecideAt, EmitPlan, Plan, SectionPlan, StreamPlan
from stream_infer.topology.read import read
from stream_infer.topology.values import Section

MODELS_STREAM = "models"  # the internal stream of versions; users' streams cannot have the name
CHANGES_STREAM = "changes"  # the internal stream of changes by hand


def load(text: str, file: str, files: Files, base: str = ".") -> Plan:
    """The plan of a topology file. file: its name for messages; files: see `check`; base: its folder.

    Raises TopologyError with all problems.
    """
    spec, problems = read(text, file)
    if spec is None:
        raise TopologyError(problems)
    checked, more = check(spec, files)
    if problems or more:
        raise TopologyError(sorted({*problems, *more}))
    return build(checked, base)


def build(checked: Checked, base: str = ".") -> Plan:
    """The plan of a spec without problems. base: the folder that artifacts and certificates are relative to."""
    spec = checked.spec
    name = spec.name
    streams = _user_streams(checked)
    for draft in checked.placement.drafts:
        if draft.hop is not None:
            streams[draft.flowing] = _hop_stream(checked, draft)
    sections = [build_section(checked, draft) for draft in checked.placement.drafts]
    if any(True for _ in spec.stages_of("feedback")):
        by_segment = any(stage.has("segment") for _, stage in spec.stages_of("bandit"))
        schema = JOINED_BY_SEGMENT if by_segment else JOINED
        streams[f"{name}.joined"] = StreamPlan(f"{name}.joined", f"{name}.joined", schema, 1, id="prediction_id", event_time="closed_at")
    learning = learn_section(checked, sections)
    if learning is not None:
        sections.append(learning)
    has_models = any(i.stream == MODELS_STREAM for section in sections for i in section.inputs) or learning is not None
    if has_models:
        streams[MODELS_STREAM] = StreamPlan(MODELS_STREAM, f"{name}.models", "", 1, framing="bare", compacted=True)
    has_changes = any(i.stream == CHANGES_STREAM for section in sections for i in section.inputs)
    if has_changes:
        streams[CHANGES_STREAM] = StreamPlan(CHANGES_STREAM, f"{name}.changes", "", 1, framing="bare")
    emit = _emit(checked)
    limits = spec.top.section("limits")
    assert limits is not None
    return Plan(
        name=name,
        streams=streams,
        models={key: model_settings(key, section) for key, section in spec.models.items() if section.kind not in COMPOSED},
        sections=tuple(sections),
        emit=emit,
        topics=_topics(name, streams, sections, emit),
        models_topic=f"{name}.models" if has_models else "",
        decisions_topic=f"{name}.decisions",
        cuts_topic=f"{name}.cuts",
        changes_topic=f"{name}.changes" if has_changes else "",
        rows_in_flight_max=limits.integer("rows_in_flight_max"),
        wait_ms_max=limits.integer("wait_ms_max"),
        client=client_settings(spec, base),
        tests=checked.tests,
        stores=store_plans(spec),
        base=base,
        composed=composed_models(checked),
    )


def _user_streams(checked: Checked) -> dict[str, StreamPlan]:
    spec = checked.spec
    _, outputs = inputs_and_outputs(spec)
    written = written_schemas(spec, checked.schemas)
    return {
        key: _written(key, section, written[key]) if key in outputs else _stream(checked, key, section)
        for key, section in spec.streams.items()
    }


def _written(name: str, section: Section, schema: str) -> StreamPlan:
    return StreamPlan(
        name, section.text("topic"), schema, section.integer("partitions"), format=section.text("format"), framing=section.text("framing")
    )


def _stream(checked: Checked, name: str, section: Section) -> StreamPlan:
    moment = section.section("decide_at")
    late, future = section.maybe_number("late_after_ms"), section.maybe_number("future_after_ms")
    writers = tuple((int(number), checked.schema_texts[str(path.data)]) for number, path in section.entries("schema_ids").items())
    return StreamPlan(
        name=name,
        topic=section.text("topic"),
        schema=checked.schema_texts[section.text("schema")],
        partitions=section.integer("partitions"),
        key=section.maybe_text("key"),
        id=section.maybe_text("id"),
        event_time=section.maybe_text("event_time"),
        format=section.text("format"),
        framing="bare" if section.text("format") == "faust" else section.text("framing"),
        schema_ids=writers,
        decide_at=None if moment is None else DecideAt(moment.text("field"), round(moment.number("lead_s") * 1000)),
        late_after_ms=None if late is None else int(late),
        future_after_ms=None if future is None else int(future),
        compacted=section.flag("compacted"),
        record_bytes_max=section.integer("record_bytes_max"),
    )


def _hop_stream(checked: Checked, draft: Draft) -> StreamPlan:
    """The internal topic of a hop. Its time is the moment when the row went on: rows that waited (`decide_at`) wait no second time."""
    root = checked.spec.streams[draft.root]
    text = checked.schema_texts[root.text("schema")]
    made = hop_columns(checked, draft)
    schema = hop_schema(text, draft.flowing, made)
    return StreamPlan(draft.flowing, draft.flowing, schema, draft.partitions, key=draft.key, id=root.maybe_text("id"), event_time=AT_MS)


def hop_columns(checked: Checked, draft: Draft) -> dict[str, str]:
    """The columns that stages before the hop added to its rows, with their Avro kinds."""
    assert draft.hop is not None
    source = checked.spec.stages[draft.hop].text("from")
    columns = checked.columns[source]
    assert columns is not None, f"columns of {source} are known, for its schema was read"
    fields = {field.name for field in checked.schemas[draft.root].fields}
    return {name: column.kind for name, column in columns.items() if name not in fields}


def _emit(checked: Checked) -> EmitPlan:
    spec = checked.spec
    stage = next(stage for _, stage in spec.stages_of("emit"))
    rejects = stage.maybe_text("rejects")
    topic = f"{spec.name}.rejects" if rejects is None else spec.streams[rejects].text("topic")
    return EmitPlan(stage.text("guarantee"), stage.integer("commit_interval_ms"), topic)


def _topics(name: str, streams: dict[str, StreamPlan], sections: list[SectionPlan], emit: EmitPlan) -> tuple[tuple[str, int, bool], ...]:
    """Every topic that must exist: users' in the order of the file, then internal ones."""
    topics = {stream.topic: (stream.partitions, stream.compacted) for stream in streams.values()}
    for section in sections:
        topics[section.state_topic] = (section.partitions, True)
    # Task p writes into partition p of these, whatever its section.
    widest = max(section.partitions for section in sections)
    topics[f"{name}.decisions"] = (widest, False)
    topics[f"{name}.cuts"] = (widest, False)
    topics.setdefault(emit.rejects_topic, (1, False))
    return tuple((topic, partitions, compacted) for topic, (partitions, compacted) in topics.items())
