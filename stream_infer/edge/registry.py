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
    found = _installed()
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
        odd = sorted(str(name) for name, factory in table.items() if not isinstance(name, str) or not callable(factory))
        if odd:
            raise EnvironmentMissing(f"--admit {name}: {TABLE} has what is no factory", got=", ".join(odd), expected="names → callables")
        twice = sorted(set(table) & set(found))
        if twice:
            raise EnvironmentMissing(f"--admit {name}: {', '.join(twice)} is declared already", fix="rename it in the module")
        found |= table
    return found


def _installed() -> dict[str, Factory]:
    points = list(entry_points(group=GROUP))
    values = {point.name: point.value for point in points}
    for point in points:
        if values[point.name] != point.value:
            raise EnvironmentMissing(
                f"two installed packages declare the model class {point.name}",
                got=f"{point.value} and {values[point.name]}",
                fix="uninstall one of them",
            )
    found: dict[str, Factory] = {}
    for point in points:
        try:
            found[point.name] = point.load()
        except (ImportError, AttributeError) as error:
            raise EnvironmentMissing(
                f"the installed model class {point.name} cannot be loaded",
                got=f"{point.value}: {error}",
                fix="install its package again, or uninstall it",
            ) from error
    return found
