"""kafka jars: Apache Kafka as files, fetched once per user and checked at every start. *kafka_jars* → kafka_process.

The lock file beside this module names every jar with its version and SHA-256, so nothing is resolved at run time: jgo only
fetches what the lock says, and nothing that differs from it is ever put on a class path. `python -m stream_infer.edge.kafka_jars`
resolves anew and prints a lock.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from stream_infer.edge.kafka_settings import KAFKA_VERSION
from stream_infer.errors import EnvironmentMissing

Progress = Callable[[str], None]

# slf4j-simple: without a binding Kafka's own errors go nowhere, and a broker that will not start cannot say why.
ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
DOWNLOADS_AT_ONCE = 6
HTTP_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock. coordinate: group:artifact:version; sha256: 64 hexadecimal digits."""

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """As Maven names it: artifact-version.jar."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def parse_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock: one `coordinate sha256` a line, `#` begins a comment."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return tuple(Jar(coordinate, sha256) for coordinate, sha256 in lines)


def locked_jars() -> tuple[Jar, ...]:
    """The jars this package was tested with."""
    return parse_lock(files("stream_infer.edge").joinpath("kafka-jars.lock").read_text())


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where the jars lie: $STREAM_INFER_CACHE, else the user's cache folder by the XDG rules."""
    own = environ.get("STREAM_INFER_CACHE")
    base = Path(own) if own else Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stream-infer"
    return base / f"kafka-{KAFKA_VERSION}"


def ensure(progress: Progress, *, folder: Path | None = None, jars: tuple[Jar, ...] | None = None) -> list[Path]:
    """Paths of all jars of the lock, fetched where absent, every one of them checked.

    Raises EnvironmentMissing when a jar cannot be fetched, has another hash than the lock says, or does not fit on the disk.
    """
    folder = folder or cache_folder(os.environ)
    jars = locked_jars() if jars is None else jars
    try:
        folder.mkdir(parents=True, exist_ok=True)
        absent = [jar for jar in jars if not (folder / jar.file_name).exists()]
        for jar in jars:
            if jar not in absent:
                _check(jar, folder / jar.file_name, fix=f"delete {folder / jar.file_name} and start again: it will be fetched anew")
        if absent:
            _fetch(absent, folder, progress)
    except OSError as error:
        raise _disk_error(folder, error) from error
    return [folder / jar.file_name for jar in jars]


def _fetch(absent: list[Jar], folder: Path, progress: Progress) -> None:
    """Into a folder of its own first: whoever is killed half-way leaves no half jar behind, and two at once do not meet."""
    progress(f"fetching Apache Kafka {KAFKA_VERSION} from Maven Central: {len(absent)} jars, once per user, into {folder}")
    staging = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder))
    pool = ThreadPoolExecutor(DOWNLOADS_AT_ONCE)
    try:
        waiting = {pool.submit(_download, jar, staging): jar for jar in absent}
        said, fetched_bytes = time.monotonic(), 0
        for done, future in enumerate(as_completed(waiting), start=1):
            jar, path = waiting[future], future.result()
            _check(jar, path, fix="try again; if it stays so, what is served differs from what this version was tested with: do not use it")
            fetched_bytes += path.stat().st_size
            path.replace(folder / jar.file_name)
            if time.monotonic() - said > 1.0 or done == len(absent):
                progress(f"  {done} of {len(absent)} jars, {fetched_bytes / 1e6:.0f} MB")
                said = time.monotonic()
    finally:
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(staging, ignore_errors=True)


def _download(jar: Jar, staging: Path) -> Path:
    from jgo.maven import MavenContext  # here, not above: who has the jars does not wait for it at start

    # None: Maven Central. Some companies let only their own mirror through.
    mirror = os.environ.get("STREAM_INFER_MAVEN_MIRROR")
    context = MavenContext(repo_cache=staging, remote_repos={"mirror": mirror} if mirror else None, timeout=HTTP_TIMEOUT_S)
    try:
        path: Path = context.create_dependency(jar.coordinate).artifact.resolve()
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; the errors of requests are OSErrors without a number
        raise EnvironmentMissing(
            f"cannot fetch {jar.coordinate}",
            got=f"{type(error).__name__}: {error}",
            expected="Maven Central within reach, or the jars in the cache from an earlier start",
            fix="connect once; or set STREAM_INFER_MAVEN_MIRROR to a mirror, STREAM_INFER_CACHE to a folder that has the jars, "
            "or STREAM_INFER_BOOTSTRAP to a Kafka that runs already",
        ) from error
    return path


def _check(jar: Jar, path: Path, *, fix: str) -> None:
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != jar.sha256:
        what = f"{path.name} is not the file that the lock names"
        raise EnvironmentMissing(what, got=f"sha256 {got}", expected=f"sha256 {jar.sha256}", fix=fix)


def _disk_error(folder: Path, error: OSError) -> EnvironmentMissing:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return EnvironmentMissing(
        f"cannot write Kafka's jars to {folder}",
        got=str(error),
        expected="60 MB free" if full else "a folder that may be written",
        fix="make room, or set STREAM_INFER_CACHE to another folder",
    )


def resolve_lock() -> str:
    """The text of a fresh lock: every jar that the roots need, as Maven's rules choose them, with the hash of what is served now."""
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory() as staging:
        context = MavenContext(repo_cache=Path(staging), timeout=HTTP_TIMEOUT_S)
        inputs, transitive = context.resolver.resolve([context.create_dependency(root) for root in ROOTS])
        found = sorted({(f"{d.groupId}:{d.artifactId}:{d.version}", d.artifact.resolve()) for d in inputs + transitive})
        lines = [f"{coordinate} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for coordinate, path in found]
    return f"# Apache Kafka {KAFKA_VERSION} and all it needs; written by `make lock-jars`\n" + "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(resolve_lock())
