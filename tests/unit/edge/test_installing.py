"""Published versions are loaded beside the traffic, and bad ones are refused. Oracle: the published model asked directly."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream_infer.edge.installing import Installer
from stream_infer.edge.publishing import Origin, prepare
from stream_infer.edge.version_loading import version_loader
from stream_infer.edge.workers import InProcess
from stream_infer.errors import ModelError
from stream_infer.flow.commands import Forward, Install
from stream_infer.flow.notices import ForwardDone, Installed, InstallFailed
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.models.manifest import Manifest, golden_inputs, write_golden
from tests.support import wait_until
from tests.support_run import score_case

VERSIONED = "{kind: linear, artifact: twice.safetensors, inputs: [amount], versions_kept: 1}"


def line(slope: float, columns: tuple[str, ...] = ("amount",)) -> LinearModel:
    wide = len(columns)
    return LinearModel(np.full((wide, 1), slope), np.zeros(1), np.zeros(wide), np.ones(wide), "identity", columns)


class Bench:
    """A topology's folder, a forwarder as `run` makes it, and versions published into it."""

    def __init__(self, folder: Path) -> None:
        from stream_infer.cli import load_plan

        self.folder = folder
        self.plan = load_plan(score_case("", folder, "installing", topics=False, model=VERSIONED).path)
        self.installer = Installer(version_loader(self.plan.models, self.plan.base, {}))
        self.forwarder = InProcess({"twice": line(2.0)}, self.installer)

    def published(self, version: int, slope: float) -> Install:
        artifact = f"v{version}.safetensors"
        (self.folder / artifact).write_bytes(line(slope).to_bytes())
        manifest, golden = prepare(self.plan, "twice", artifact, Origin(), {})
        return Install("twice", version, b"", replace(manifest, version=version), golden, frozenset({version - 1, version}))

    def told(self) -> list[object]:
        found: list[object] = []
        wait_until(lambda: bool(found.extend(self.forwarder.finished(0)) or found), "it was told")
        return found

    def answer(self, version: int) -> float:
        self.forwarder.submit(Forward(1, "twice", version, np.array([[10.0]], dtype=np.float32)))
        (done,) = self.forwarder.finished(1000)
        assert isinstance(done, ForwardDone)
        return float(done.outputs[0, 0])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.forwarder.close()


def test_a_version_answers_once_it_is_told_and_memory_is_bounded(bench: Bench) -> None:
    for version in range(1, 6):
        command = bench.published(version, float(version))
        bench.forwarder.install(command)
        (told,) = bench.told()
        assert isinstance(told, Installed)
        assert told.seconds > 0
        assert bench.answer(version) == 10.0 * version
        assert bench.answer(0) == 20.0, "the topology's own file stays"
        assert bench.installer.resident("twice") == [v for v in (version - 1, version) if v]
    bench.forwarder.install(command)  # there already: told at once
    assert bench.forwarder.finished(0) == [Installed("twice", 5)]


def test_traffic_goes_on_while_a_version_is_loaded(tmp_path: Path) -> None:
    go = threading.Event()

    def load(_: Install) -> Model:
        assert go.wait(10)
        return line(3.0)

    forwarder = InProcess({"twice": line(2.0)}, Installer(load))
    command = Install("twice", 1, b"", Manifest("twice", 1, "a", "b", "linear"))
    for _ in range(3):
        forwarder.install(command)  # several tasks ask for it; it is loaded once
    for job in range(100):
        forwarder.submit(Forward(job, "twice", 0, np.array([[1.0]], dtype=np.float32)))
        (done,) = forwarder.finished(0)
        assert isinstance(done, ForwardDone)
    go.set()
    found: list[object] = []
    wait_until(lambda: bool(found.extend(forwarder.finished(0)) or found), "installed")
    assert [type(told) for told in found] == [Installed]
    forwarder.close()


def wrong_checksum(bench: Bench, command: Install) -> Install:
    (bench.folder / "v1.safetensors").write_bytes(line(9.0).to_bytes())
    return command


def truncated(bench: Bench, command: Install) -> Install:
    data = (bench.folder / "v1.safetensors").read_bytes()[:-7]
    (bench.folder / "v1.safetensors").write_bytes(data)
    assert command.manifest is not None
    return replace(command, manifest=replace(command.manifest, sha256=hashlib.sha256(data).hexdigest()))


def nan_weights(bench: Bench, command: Install) -> Install:
    data = line(float("nan")).to_bytes()
    (bench.folder / "v1.safetensors").write_bytes(data)
    assert command.manifest is not None
    return replace(command, manifest=replace(command.manifest, sha256=hashlib.sha256(data).hexdigest()))


def wrong_width(bench: Bench, command: Install) -> Install:
    data = line(1.0, ("amount", "more")).to_bytes()
    (bench.folder / "v1.safetensors").write_bytes(data)
    assert command.manifest is not None
    return replace(command, manifest=replace(command.manifest, sha256=hashlib.sha256(data).hexdigest()))


def golden_mismatch(bench: Bench, command: Install) -> Install:
    inputs = golden_inputs(1)
    golden = write_golden(inputs, line(1.001).forward(inputs))
    assert command.manifest is not None
    return replace(command, golden=golden, manifest=replace(command.manifest, golden=hashlib.sha256(golden).hexdigest()))


def gone(bench: Bench, command: Install) -> Install:
    (bench.folder / "v1.safetensors").unlink()
    return command


def another_kind(bench: Bench, command: Install) -> Install:
    assert command.manifest is not None
    return replace(command, manifest=replace(command.manifest, kind="torch"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (wrong_checksum, "sha256"),
        (truncated, "safetensors"),
        (nan_weights, "NaN"),
        (wrong_width, "another number of inputs"),
        (golden_mismatch, "golden question"),
        (gone, "no such file"),
        (another_kind, "another kind"),
    ],
)
def test_a_bad_version_is_refused_with_its_reason_and_the_old_one_goes_on(bench: Bench, spoil: object, reason: str) -> None:
    assert callable(spoil)
    bench.forwarder.install(spoil(bench, bench.published(1, 1.0)))
    (told,) = bench.told()
    assert isinstance(told, InstallFailed)
    assert (told.model, told.version) == ("twice", 1)
    assert reason in told.reason
    assert "\n" not in told.reason
    assert bench.answer(0) == 20.0
    assert bench.installer.resident("twice") == []


def test_what_no_worker_could_install_is_not_published(bench: Bench) -> None:
    (bench.folder / "bad.safetensors").write_bytes(line(1.0, ("other",)).to_bytes())
    with pytest.raises(ModelError, match="another than the topology's"):
        prepare(bench.plan, "twice", "bad.safetensors", Origin(), {})
