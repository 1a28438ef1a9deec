"""topology.check: all rules over a spec, in the order in which they rest on each other. read → *check* → build."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.codec.schema import RecordSchema
from stream_infer.errors import Problem
from stream_infer.topology.check_composed import check_composed
from stream_infer.topology.check_models import check_models
from stream_infer.topology.check_names import check_names
from stream_infer.topology.check_stages import check_stages
from stream_infer.topology.check_streams import Files, check_streams
from stream_infer.topology.check_tests import check_tests
from stream_infer.topology.client import check_client
from stream_infer.topology.columns import Columns, of_stages
from stream_infer.topology.emit_schema import written_schemas
from stream_infer.topology.placement import Placement, place_stages
from stream_infer.topology.plan import TestPlan
from stream_infer.topology.values import Findings, Spec


@dataclass(frozen=True)
class Checked:
    """A spec with what the checks found out about it. Only without problems may it be built.

    schemas: by input stream; schema_texts: by path; order: stages, each after what it reads; columns: after each stream and stage.
    """

    spec: Spec
    schemas: dict[str, RecordSchema]
    schema_texts: dict[str, str]
    order: list[str]
    columns: dict[str, Columns | None]
    placement: Placement
    tests: tuple[TestPlan, ...]


def check(spec: Spec, files: Files) -> tuple[Checked, list[Problem]]:
    """files: the text of a file by its path relative to the topology, None where there is none. Returns all problems, by line."""
    found = Findings(spec.file)
    order = check_names(spec, found)
    schemas, texts = check_streams(spec, files, found)
    check_models(spec, found)
    check_composed(spec, found)
    columns = of_stages(spec, schemas, order, found)
    placement = place_stages(spec, order, columns, found)
    check_stages(spec, order, columns, placement, written_schemas(spec, schemas), found)
    check_client(spec, found)
    tests = check_tests(spec, schemas, files, found)
    # Two roads may lead to one problem (a model that two stages ask): it is told once.
    return Checked(spec, schemas, texts, order, columns, placement, tests), sorted(set(found.problems))
