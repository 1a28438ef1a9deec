"""edge.artifacts: the bytes of model files, from a folder or a URL, read once. *artifacts* → workers, versions.

A path is read below the folder of the topology, and nowhere else. A URL is read only below a prefix that the operator admitted in the
environment (STREAM_INFER_ARTIFACTS), and only with the digest that it must have: whoever writes a topology or a version names what is
loaded, but not from where. Credentials never stand in a URL; fsspec takes them from the environment, its own settings or the machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from stream_infer.errors import EnvironmentMissing, ModelError
from stream_infer.models.base import check_digest, model_error
from stream_infer.topology.check_streams import path_problem

ARTIFACT_BYTES_MAX = 2_000_000_000  # a file past this is refused before it is read into memory
ADMITTED = "STREAM_INFER_ARTIFACTS"  # in the environment: URL prefixes, separated by blanks
CHUNK = 16_000_000

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/\s]*)(/[^\s]*)?")


def is_url(where: str) -> bool:
    """Whether an artifact is fetched and not read from the topology's folder."""
    return "://" in where


def read_artifact(
    where: str, base: str, sha256: str | None = None, *, admitted: Sequence[str] | None = None, bytes_max: int = ARTIFACT_BYTES_MAX
) -> bytes:
    """The bytes of one file, at most bytes_max, with the digest sha256 (hex) where one is given.

    where: a path below base, or a URL below one of `admitted` (default: the environment's); a URL needs sha256. Raises ModelError for a
    file that is absent, too large or another than the digest's, and for a place that is not admitted; EnvironmentMissing where a
    package or a permission is missing.
    """
    if is_url(where):
        prefixes = os.environ.get(ADMITTED, "").split() if admitted is None else admitted
        _check_url(where, prefixes, sha256)
        data = _fetch(where, bytes_max)
    else:
        data = _read(where, base, bytes_max)
    check_digest(data, sha256, where)
    return data


def _read(where: str, base: str, bytes_max: int) -> bytes:
    why = path_problem(where)
    if why:
        raise model_error(f"the path {why}", where, expected="a path below the folder of the topology")
    path = Path(base) / where
    if not path.is_file():
        raise model_error("there is no such file", str(path), expected="a model file as `artifact`", fix="train it, or correct the path")
    with path.open("rb") as file:
        return _limited(file, path.stat().st_size, str(path), bytes_max)


def _limited(file: IO[bytes], size: int | None, where: str, bytes_max: int) -> bytes:
    """All of a file. size: as its place says; it may be wrong or unknown, so what is read is counted as well."""
    parts: list[bytes] = []
    total = size or 0
    if total <= bytes_max:
        total = 0
        while total <= bytes_max and (part := file.read(min(CHUNK, bytes_max + 1 - total))):
            parts.append(part)
            total += len(part)
    if total > bytes_max:
        fix = "a smaller model; one this large belongs behind a server of its own"
        raise model_error("the file is too large", where, got=f"{total} bytes or more", expected=f"at most {bytes_max}", fix=fix)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _check_url(url: str, admitted: Sequence[str], sha256: str | None) -> None:
    parts = _URL.fullmatch(url)
    why = ""
    if parts is None or "::" in url:
        why = "is not of the form scheme://place/path"
    elif "@" in parts[2]:
        why = "holds a user or password: they belong into the environment"
    elif "?" in url or "#" in url:
        why = "has a query or fragment, which may hold secrets"
    elif ".." in (parts[3] or "").split("/") or "%2e" in url.lower() or "\\" in url:
        why = "climbs with `..`"
    if why:
        shown = re.sub(r"//[^/]*@", "//…@", url.partition("?")[0])  # never a secret in a log
        raise model_error(f"the URL {why}", shown, expected="such as s3://models/eta/3.onnx", fix="correct the URL")
    if not any(url.startswith(prefix if prefix.endswith("/") else prefix + "/") for prefix in admitted if "://" in prefix):
        shown = url.rpartition("/")[0] + "/"
        raise model_error(
            "nobody admitted this place",
            url,
            got=" ".join(admitted) or f"no {ADMITTED} in the environment",
            expected="a URL below a prefix that the operator admits",
            fix=f"start with {ADMITTED}={shown}, if you trust who can write there",
        )
    if sha256 is None:
        raise model_error("a URL without a digest", url, expected="the sha256 of the file beside its URL", fix="add `sha256: …`")


def _fetch(url: str, bytes_max: int) -> bytes:
    # Imported for URLs only: 0.3 s.
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
        system.invalidate_cache()  # it remembers listings: a file written a moment ago must be seen
        size = system.info(path).get("size")
        with system.open(path, "rb") as file:
            return _limited(file, size, url, bytes_max)
    except ModelError:
        raise
    except FileNotFoundError as error:
        # Over HTTP, a connection that is refused and a right that lacks are told as missing files; only 404 and 410 are.
        if error.__cause__ is not None and getattr(error.__cause__, "status", None) not in (404, 410):
            raise _unreachable(url, error.__cause__) from error
        raise model_error("there is no such file", url, expected="a model file", fix="publish it, or correct the URL") from None
    except (ImportError, ValueError) as error:  # the package of this kind of place; a scheme that nobody knows
        raise EnvironmentMissing(
            f"{url}: this kind of place cannot be read here", got=_first(error), fix="pip install the package that it names"
        ) from error
    except Exception as error:  # each kind of place raises errors of its own packages; all mean that it cannot be reached or read
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: BaseException) -> EnvironmentMissing:
    return EnvironmentMissing(
        f"{url}: it cannot be read",
        got=f"{type(error).__name__}: {_first(error)}",
        fix="see that the network and the credentials in the environment let this machine read it",
    )


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]
