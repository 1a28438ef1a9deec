"""edge.registry: the user's code that a topology may name: entry points, and modules that the operator admits. cli → *registry*.

Whoever can write the topology must not thereby run code: a name in the file means something only if an installed package
declares it (an entry point of the group) or the operator admitted its module on the command line.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from stream_infer.errors import EnvironmentMissing
from stream_infer.functions import Function
from stream_infer.models.base import Factory


@dataclass(frozen=True)
class Sort:
    """A sort of code. group: of entry points; table: the name an admitted module gives its table; words: for messages."""

    group: str
    table: str
    noun: str
    one: str


MODELS = Sort("stream_infer.models", "STREAM_INFER_MODELS", "model class", "factory")  # {"my_net": factory}
FUNCTIONS = Sort("stream_infer.functions", "STREAM_INFER_FUNCTIONS", "function", "function")  # {"my_check": function}
SORTS = (MODELS, FUNCTIONS)


def model_classes(admitted: Sequence[str]) -> dict[str, Factory]:
    """Factories by name, of entry points and of the tables of admitted modules; a later module may not take a name twice."""
    return _declared(MODELS, admitted)


def functions_of(admitted: Sequence[str]) -> dict[str, Function]:
    """Users' functions by name, as model_classes()."""
    return _declared(FUNCTIONS, admitted)


def _declared(sort: Sort, admitted: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = _installed(sort)
    for name in admitted:
        table = _table(sort, name)
        odd = sorted(str(name) for name, one in table.items() if not isinstance(name, str) or not callable(one))
        if odd:
            raise EnvironmentMissing(
                f"--admit {name}: {sort.table} has what is no {sort.one}", got=", ".join(odd), expected="names → callables"
            )
        twice = sorted(str(name) for name in table if name in found)
        if twice:
            raise EnvironmentMissing(f"--admit {name}: {', '.join(twice)} is declared already", fix="rename it in the module")
        found |= {str(name): one for name, one in table.items()}
    return found


def _table(sort: Sort, name: str) -> Mapping[object, Any]:
    """The module's table of this sort; it may lack one, but not all of them."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise EnvironmentMissing(
            f"--admit {name}: {error}", expected="an importable module", fix="install it, or correct the name"
        ) from error
    table = getattr(module, sort.table, None)
    if table is None and any(isinstance(getattr(module, other.table, None), dict) for other in SORTS):
        return {}
    if not isinstance(table, dict):
        expected = " or ".join(f"{other.table} = {{'name': {other.one}}}" for other in SORTS)
        raise EnvironmentMissing(f"--admit {name}: it has no {sort.table}", expected=f"{expected} in the module")
    return table


def _installed(sort: Sort) -> dict[str, Any]:
    points = list(entry_points(group=sort.group))
    values = {point.name: point.value for point in points}
    for point in points:
        if values[point.name] != point.value:
            raise EnvironmentMissing(
                f"two installed packages declare the {sort.noun} {point.name}",
                got=f"{point.value} and {values[point.name]}",
                fix="uninstall one of them",
            )
    found: dict[str, Any] = {}
    for point in points:
        try:
            found[point.name] = point.load()
        except (ImportError, AttributeError) as error:
            raise EnvironmentMissing(
                f"the installed {sort.noun} {point.name} cannot be loaded",
                got=f"{point.value}: {error}",
                fix="install its package again, or uninstall it",
            ) from error
    return found
