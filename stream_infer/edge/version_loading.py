"""edge.version_loading: a manifest to a model that is ready to answer. manifest, artifacts → *version_loading* → installing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from stream_infer.edge.artifacts import read_artifact
from stream_infer.errors import ModelError
from stream_infer.flow.commands import Install
from stream_infer.models.base import Model, Registry, model_error
from stream_infer.models.load import load_model
from stream_infer.models.manifest import Manifest, check_golden
from stream_infer.models.settings import ModelSettings

WARM_ROWS = (1, 256)  # where the topology names no sizes: the smallest pass, and one large enough that libraries take their wide path


Elsewhere = Callable[[ModelSettings, int, bytes], Model | None]  # loads a version in processes of its own; None: it runs in this one


def load_version(
    settings: ModelSettings, manifest: Manifest, golden: bytes, base: str, registry: Registry, elsewhere: Elsewhere | None = None
) -> Model:
    """The model of a published version: its bytes are those of the manifest, it fits the topology, gives the golden answers, and is warm.

    settings: of the model in the topology; base: its folder. Raises ModelError with what is wrong.
    """
    label = f"{manifest.name} v{manifest.version}"
    if manifest.kind != settings.kind:
        raise model_error(
            "the version is of another kind", label, got=manifest.kind, expected=settings.kind, fix="publish one of the topology's kind"
        )
    published = replace(settings, artifact=manifest.artifact, sha256=manifest.sha256)
    data = read_artifact(manifest.artifact, base, manifest.sha256)
    there = None if elsewhere is None else elsewhere(published, manifest.version, data)
    model = load_model(published, data, registry) if there is None else there
    check_golden(model, golden, manifest.golden, label)
    for rows in settings.batch.sizes or WARM_ROWS:
        model.forward(np.zeros((rows, len(model.columns)), dtype=np.float32))
    return model


def version_loader(
    models: Mapping[str, ModelSettings], base: str, registry: Registry, elsewhere: Elsewhere | None = None
) -> Callable[[Install], Model]:
    """What an Installer asks."""

    def load(command: Install) -> Model:
        if command.manifest is None:
            raise ModelError(f"{command.model} v{command.version}: the change has no manifest")
        return load_version(models[command.model], command.manifest, command.golden, base, registry, elsewhere)

    return load
