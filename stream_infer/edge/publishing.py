"""edge.publishing: an artifact to a manifest, loaded and asked as workers will do it. cli_models → *publishing* → control."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stream_infer.edge.artifacts import read_artifact
from stream_infer.models.base import Model, Registry
from stream_infer.models.load import load_model
from stream_infer.models.manifest import Manifest, golden_inputs, write_golden
from stream_infer.topology.lineage import features_digest
from stream_infer.topology.plan import Plan


@dataclass(frozen=True)
class Origin:
    """What the publisher says of a version beside its bytes, as in Manifest. sha256: which the bytes must have; a URL needs it."""

    trained_on: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    made_from: Mapping[str, int] = field(default_factory=dict)
    sha256: str | None = None


def prepare(plan: Plan, name: str, artifact: str, origin: Origin, registry: Registry) -> tuple[Manifest, bytes]:
    """(manifest, still without version and parent, golden answers). Raises ModelError for what no worker could install."""
    data = read_artifact(artifact, plan.base, origin.sha256)
    settings = replace(plan.models[name], artifact=artifact)
    digest = hashlib.sha256(data).hexdigest()
    model = load_model(replace(settings, sha256=digest), data, registry)
    inputs = golden_inputs(len(model.columns))
    golden = write_golden(inputs, model.forward(inputs)) if len(inputs) else b""
    manifest = Manifest(
        name=name,
        version=0,
        artifact=artifact,
        sha256=digest,
        kind=settings.kind,
        code=code_digest(model, registry.get(settings.model_class)),
        features=features_digest(plan, name),
        trained_on=origin.trained_on,
        metrics=origin.metrics,
        made_from=origin.made_from,
        golden=hashlib.sha256(golden).hexdigest() if golden else "",
    )
    return manifest, golden


def code_digest(model: Model, factory: object = None) -> str:
    """sha256 (hex) of the source of the model's class and of the user's factory; "" where no source is to be had."""
    found = hashlib.sha256()
    for thing in (type(model), factory):
        if thing is None:
            continue
        try:
            file = inspect.getsourcefile(thing)  # type: ignore[arg-type]  # a TypeError tells what is none
        except TypeError:
            file = None
        if file is None or not Path(file).is_file():
            return ""
        found.update(Path(file).read_bytes())
    return found.hexdigest()
