"""What is made from the table of settings: the reference page, the JSON Schema, the full form, the explanation, the drawing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stream_infer.topology import explain
from stream_infer.topology.build import load
from stream_infer.topology.jsonschema import json_schema_text
from stream_infer.topology.read import read
from stream_infer.topology.reference import reference_text
from stream_infer.topology.spec import PLACES
from tests.unit.topology.goods import NAMES, files, plan_of, text_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("path", "made"), [("docs/topology-reference.md", reference_text), ("schemas/topology.schema.json", json_schema_text)]
)
def test_committed_pages_are_fresh(path: str, made: Any) -> None:
    if os.environ.get("UPDATE"):
        (ROOT / path).write_text(made())

    assert (ROOT / path).read_text() == made(), "run again with UPDATE=1"


class Loader(yaml.SafeLoader):
    """YAML 1.2, as editors read it: 1e-4 is a number and `on` is none of true and false."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true$|false$"), list("tf"))
Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$"), list("-+0123456789"))


def errors(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(json.loads(json_schema_text()))
    return [error.message for error in validator.iter_errors(yaml.load(text, Loader))]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json_schema_text()))


@pytest.mark.parametrize("name", NAMES)
def test_editors_accept_good_topologies_and_their_full_form(name: str) -> None:
    assert errors(text_of(name)) == []
    spec, _ = read(text_of(name), name)
    assert spec is not None
    assert errors(explain.full(spec)) == []


UNKNOWN = sorted(path for path in (ROOT / "topologies" / "bad").glob("*.yaml") if path.stem.startswith(("unknown-", "missing-", "out-of-")))
REFERENCES = {"unknown-stream", "unknown-stage", "unknown-model", "unknown-arm"}  # an editor does not know what names stand for


@pytest.mark.parametrize("path", [p for p in UNKNOWN if p.stem not in REFERENCES], ids=lambda path: path.stem)
def test_editors_refuse_what_the_table_refuses(path: Path) -> None:
    assert errors(path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_full_form_means_the_same_and_leaves_nothing_to_defaults(name: str) -> None:
    spec, _ = read(text_of(name), name)
    assert spec is not None
    written = explain.full(spec)
    again, problems = read(written, name)

    assert problems == []
    assert again is not None
    assert repr(plan_of(name)) == repr(load(written, name, files))
    assert written == explain.full(again)


def test_every_setting_stands_in_the_reference() -> None:
    page = reference_text()

    for place in PLACES.values():
        for setting in place.settings:
            assert f"| `{setting.name}` | {setting.doc}".replace(" | setting", "") in page or setting.doc.replace("|", "\\|") in page
    targets = set(re.findall(r"\]\(#([a-z0-9-]+)\)", page))
    assert targets <= set(re.findall(r'<a id="([a-z0-9-]+)">', page))


def test_explain_tells_order_cost_and_topics() -> None:
    text = explain.text(plan_of("flights"))

    order = [line.split()[0] for line in text.split("\n  steps")[0].splitlines() if "task" in line and line.startswith("    ")]
    assert order == ["departed", "arrived", "weather", "planes", "scheduled", "models"]
    assert "bytes per key" in text
    assert "1800 s before departs_at_ms" in text
    assert "flights.main.state" in text
    assert "rows go on to hops.shop_now.by_shop_id, keyed by shop_id" in explain.text(plan_of("repartition"))


@pytest.mark.parametrize("name", NAMES)
def test_the_drawing_has_no_loose_ends(name: str) -> None:
    drawn = explain.mermaid(plan_of(name))

    declared = set(re.findall(r"^ +([ts]\d+(?:_\d+)?)\[", drawn, re.MULTILINE))
    used = {end for arrow in re.findall(r"^  (\w+) (?:-->|-\.->)(?:\|[^|]*\|)? (\w+)$", drawn, re.MULTILINE) for end in arrow}
    assert used <= declared
    assert len(re.findall(r"-->|-\.->", drawn)) == len(re.findall(r"^  \w+ (?:-->|-\.->)(?:\|[^|]*\|)? \w+$", drawn, re.MULTILINE))
