"""edge.secrets: secrets of the client settings, which a topology only names. plan → *secrets* → kafka."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from stream_infer.errors import EnvironmentMissing
from stream_infer.topology.client import reference_of


def resolved(client: Mapping[str, str]) -> dict[str, str]:
    """The settings with every reference to the environment or a file replaced by what is there. EnvironmentMissing when nothing is."""
    return {name: _one(name, value) for name, value in client.items()}


def _one(name: str, value: str) -> str:
    reference = reference_of(value)
    if reference is None:
        return value
    kind, where = reference
    if kind == "env":
        found = os.environ.get(where)
        if found is None:
            raise EnvironmentMissing(f"client setting {name}: the environment has no {where}", fix=f"export {where}=…")
        return found
    path = Path(where)
    if not path.is_file():
        raise EnvironmentMissing(f"client setting {name}: there is no file {where}", fix="put the secret there, readable for this user")
    try:
        return path.read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentMissing(f"client setting {name}: the file {where} cannot be read", got=str(error)) from error
