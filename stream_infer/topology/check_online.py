"""topology.check_online: what stages say of Redis. columns, emit_schema → *check_online* → check_stages."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from stream_infer.online_settings import KeyTemplate, template_problem
from stream_infer.topology import columns as col
from stream_infer.topology.columns import Columns, check_column
from stream_infer.topology.suggest import closest, did_you_mean, listed
from stream_infer.topology.values import Findings, Section, Spec, Value

_TABLE_ONLY = ("key", "global", "keys_max")


def check_redis_lookup(stage: Section, before: Columns | None, of: str, found: Findings) -> None:
    """A lookup stage with `redis`: nothing is said of a table, keys can be made, what lies there fits what is taken."""
    redis = stage.section("redis")
    if redis is None:
        return
    for name in _TABLE_ONLY:
        value = stage.get(name)
        if value is not None and value.given:
            fix = "name the fields in braces: `redis: {key: …}`" if name == "key" else f"remove `{name}`"
            found.at_name(value, f"{stage.label}: `{name}` with `redis`", expected=f"`{name}` only with `table`", fix=fix)
    _check_url(stage, redis, found)
    for field in _fields_of(stage, redis.get("key"), found):
        check_column(found, stage.label, field, before, col.A_KEY, of=of)
    taken = stage.entries("take")
    if redis.maybe_text("as") == "string" and len(taken) > 1:
        value = stage.get("take")
        assert value is not None
        found.at_name(
            value,
            f"{stage.label}: {len(taken)} numbers from one text",
            expected="one, with `as: string`",
            fix="take one, or keep them `as: json` or `as: hash`",
        )


def check_table_lookup(stage: Section, found: Findings) -> None:
    """A lookup stage with `table` names the field that is compared."""
    if stage.has("table") and not stage.has("key") and "key" not in stage.given:
        found.at(stage, f"{stage.label}: `key` is missing", expected="a text or integer field of the looking rows", fix="add `key: …`")


def check_held(spec: Spec, test: Section, found: Findings) -> dict[str, dict[str, dict[str, float]]]:
    """What a test says that Redis holds, by stage, key and name; of stages that look up there, names that they take."""
    stages = {name: stage for name, stage in spec.stages_of("lookup") if stage.has("redis")}
    held: dict[str, dict[str, dict[str, float]]] = {}
    for name, value in test.entries("redis").items():
        if name not in stages:
            words = "a lookup stage with `redis`"
            what, expected = f"{test.label}: `{name}` is not {words}", f"{words}: {listed(stages)}"
            found.at_name(value, what, expected=expected, fix=did_you_mean(name, stages))
            continue
        taken = list(stages[name].entries("take"))
        held[name] = {}
        for key, row in _entries(value).items():
            for column, at in _entries(row).items():
                if column not in taken:
                    what = f"{test.label}: stage `{name}` does not take `{column}`"
                    found.at_name(at, what, expected=f"a name in its `take`: {listed(taken)}", fix=did_you_mean(column, taken))
            numbers = {column: at.data for column, at in _entries(row).items()}
            held[name][key] = {column: float(number) for column, number in numbers.items() if isinstance(number, int | float)}
    return held


def _entries(value: Value) -> dict[str, Value]:
    return value.data if isinstance(value.data, dict) else {}


def check_stores(spec: Spec, written: Mapping[str, str], found: Findings) -> None:
    """Store stages: keys and fields are in what the emit stage writes; no two write the same keys. written: schemas by stream."""
    first: dict[str, str] = {}
    for name, stage in spec.stages_of("store"):
        redis = stage.section("redis")
        if redis is not None:
            _check_url(stage, redis, found)
        key = stage.maybe_text("key")
        value = stage.get("key")
        if key is not None and value is not None and first.setdefault(key, name) != name:
            what = f"{stage.label}: stage `{first[key]}` writes the same keys"
            found.at(value, what, expected="keys of its own for each store stage", fix=f"write `{name}:…`")
        emit = next((e for _, e in spec.stages_of("emit") if e.maybe_text("from") == stage.maybe_text("from")), None)
        to = emit.maybe_text("to") if emit is not None else None
        if to is None or to not in written:
            _fields_of(stage, value, found)
            continue
        kinds = {field["name"]: field["type"] for field in json.loads(written[to])["fields"]}
        for field in _fields_of(stage, value, found):
            _check_written(stage, field, [n for n, kind in kinds.items() if _is_key(kind)], kinds, found)
        seen: set[str] = set()
        for field in stage.items("fields"):
            if field.data in seen:
                what = f"{stage.label}: `{field.data}` stands twice in `fields`"
                found.at(field, what, expected="each name once", fix="remove one of them")
            seen.add(str(field.data))
            _check_written(stage, field, list(kinds), kinds, found)


def _is_key(kind: object) -> bool:
    names = kind if isinstance(kind, list) else [kind]
    named = [one.get("type") if isinstance(one, dict) else one for one in names]
    return any(one in ("string", "bytes", "int", "long", "enum", "fixed") for one in named)


def _check_written(stage: Section, value: Value, fitting: Collection[str], kinds: Mapping[str, object], found: Findings) -> None:
    name = str(value.data)
    if name in fitting:
        return
    near = closest(name, fitting)
    is_there = name in kinds
    what = f"{stage.label}: `{name}` is no text or integer" if is_there else f"{stage.label}: the predictions have no field `{name}`"
    fix = f"did you mean `{near}`?" if near else "name another field" if is_there else f"let the emit stage `carry: [{name}]`"
    found.at(value, what, expected=f"a field that the emit stage writes: {listed(list(fitting))}", fix=fix)


def _fields_of(stage: Section, value: Value | None, found: Findings) -> list[Value]:
    """The fields in a key template, as values where the template stands."""
    if value is None or not isinstance(value.data, str):
        return []
    problem = template_problem(value.data)
    if problem:
        what = f"{stage.label}: no keys can be made of `{value.data[:60]}`: {problem}"
        found.at(value, what, expected="such as `user:{user_id}`", fix="correct it")
        return []
    names = KeyTemplate.of(value.data).fields
    return [Value(name, value.line, value.column, value.source, value.key_line, value.key_column) for name in names]


def _check_url(stage: Section, redis: Section, found: Findings) -> None:
    value = redis.get("url")
    if value is not None and isinstance(value.data, str):
        found.at(
            value,
            f"{stage.label}: an address stands in the file",
            got="url: (not shown)",
            expected="{env: NAME} or {file: path}: it may hold a password, and the operator says where Redis is",
            fix="write `url: {env: REDIS_URL}`",
        )
