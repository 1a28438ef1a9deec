"""edge.registry: the user's code that a topology may name: entry points, and modules that the operator admits. cli → *registry*.

Whoever can write the topology must not thereby run code: a name in the file means something only if an installed package
declares it (entry point group GROUP) or the operator admitted its module on the command line.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.metadata import entry_points

from stream_infer.errors import EnvironmentMissing
from stream_infer.models.base import Factory

GROUP = "stream_infer.models"
TABLE = "STREAM_INFER_MODELS"  # the name an admitted module gives its table: {"my_net": factory}


def model_classes(admitted: Sequence[str]) -> dict[str, Factory]:
    """Factories by name, of entry points and of the tables of admitted modules; a later module may not take a name twice."""
    found: dict[str, Factory] = {point.name: point.load() for point in entry_points(group=GROUP)}
    for name in admitted:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise EnvironmentMissing(
                f"--admit {name}: {error}", expected="an importable module", fix="install it, or correct the name"
            ) from error
        table = getattr(module, TABLE, None)
        if not isinstance(table, dict):
            raise EnvironmentMissing(f"--admit {name}: it has no {TABLE}", expected=f"{TABLE} = {{'name': factory}} in the module")
        twice = sorted(set(table) & set(found))
        if twice:
            raise EnvironmentMissing(f"--admit {name}: {', '.join(twice)} is declared already", fix="rename it in the module")
        found |= table
    return found
