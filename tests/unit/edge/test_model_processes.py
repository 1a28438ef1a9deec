"""Models in processes of their own, that die in every way there is. Oracle: the same model in this process; /proc."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stream_infer.attribution import Asked, Attributions, AttributionSettings
from stream_infer.edge import slabs
from stream_infer.edge.model_processes import ModelProcesses
from stream_infer.edge.workers import InProcess
from stream_infer.errors import EnvironmentMissing, ModelError
from stream_infer.features.settings import Input
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.notices import ForwardDone, ForwardFailed
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings, WorkerSettings
from stream_infer.records import Matrix
from tests import admitted
from tests.support import wait_until

ADMITTED = "tests.admitted"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts processes and memory in /proc")


def settings(name: str = "net", kind: str = "deadly", columns: int = 1, **workers: object) -> ModelSettings:
    """kind: linear (whose process starts in half a second), or a net of tests.admitted."""
    inputs = tuple(Input(f"x{number}") for number in range(columns))
    at = WorkerSettings(**({"where": "process"} | workers))  # type: ignore[arg-type]
    if kind == "linear":
        return ModelSettings(name, "linear", inputs, artifact=f"{name}.safetensors", workers=at)
    return ModelSettings(name, "torch", inputs, artifact=f"{name}.safetensors", model_class=kind, workers=at)


def linear(weight: float = 2.0) -> bytes:
    return LinearModel(np.full((1, 1), weight), np.ones(1), np.zeros(1), np.ones(1), "identity", ("x0",)).to_bytes()


def artifact(columns: int = 1, weight: float = 2.0) -> bytes:
    wide = admitted.Wide().state_dict()["weight"].numpy()
    arrays = {"weight": wide if columns > 1 else np.full((1, 1), weight, dtype=np.float32)}
    return safetensors.numpy.save(arrays, metadata={"columns": json.dumps([f"x{number}" for number in range(columns)])})


@contextmanager
def running(*models: ModelSettings) -> Iterator[tuple[InProcess, ModelProcesses]]:
    # Only nets are of a class of the user: importing tests.admitted costs a process the two seconds of torch.
    admit = [ADMITTED] if any(each.kind == "torch" for each in models) else []
    processes = ModelProcesses({each.name: each for each in models}, admit)
    try:
        files = {each.name: linear() if each.kind == "linear" else artifact(len(each.inputs)) for each in models}
        loaded = processes.start(files, admitted.STREAM_INFER_MODELS)
        yield InProcess(loaded, keepers=processes.keepers), processes
    finally:
        processes.close()


def column(*amounts: float) -> Matrix:
    return np.array(amounts, dtype=np.float32)[:, None]


class Core:
    """Asks as the core does, and halves what fails. answered, rejected: by amount."""

    def __init__(self, forwarder: InProcess) -> None:
        self._forwarder = forwarder
        self._asked: dict[int, list[float]] = {}
        self._jobs = 0
        self.answered: dict[float, float] = {}
        self.rejected: dict[float, str] = {}
        self.passes: list[tuple[int, int]] = []

    def ask(self, amounts: list[float], together: Together | None = None, model: str = "net") -> None:
        self._jobs += 1
        self._asked[self._jobs] = amounts
        self._forwarder.submit(Forward(self._jobs, model, 0, column(*amounts), together))

    def settle(self, *, timeout_s: float = 90.0) -> None:
        until = time.monotonic() + timeout_s
        while self._asked:
            assert time.monotonic() < until, f"not answered: {self._asked}"
            for answer in self._forwarder.finished(100):
                amounts = self._asked.pop(answer.job)
                if isinstance(answer, ForwardDone):
                    self.answered |= dict(zip(amounts, answer.outputs[:, 0].tolist(), strict=True))
                    if answer.passed is not None:
                        self.passes.append((answer.passed.rows, answer.passed.rows_fit))
                elif len(amounts) == 1:
                    self.rejected[amounts[0]] = answer.reason
                else:
                    self.ask(amounts[: len(amounts) // 2])
                    self.ask(amounts[len(amounts) // 2 :])


def expected(amounts: list[float]) -> dict[float, float]:
    return {amount: 2 * amount + 1 for amount in amounts}


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def memory_files() -> int:
    """Slabs that this process holds, as open files or mapped."""
    found = sum(slabs.PREFIX in os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return found + Path("/proc/self/maps").read_text().count(slabs.PREFIX)


def test_a_process_answers_as_a_thread_does_to_the_last_bit() -> None:
    """Of a net whose sums depend on the size of the pass; and nothing is left of processes or memory."""
    assert memory_files() == 0
    x = np.random.default_rng(5).normal(size=(300, 64)).astype(np.float32)
    here = load_model(settings(kind="wide", columns=64), artifact(64), admitted.STREAM_INFER_MODELS)
    with running(settings(kind="wide", columns=64, count=2)) as (forwarder, processes):
        assert [lane.where for lane in processes.keepers.status()] == ["process"] * 2
        started = [lane.process for lane in processes.keepers.status()]
        assert all(alive(process) for process in started)
        cuts = [1, 7, 64, 100, 128]
        for job, (begin, rows) in enumerate(zip(np.cumsum([0, *cuts]).tolist(), cuts, strict=False)):
            forwarder.submit(Forward(job, "net", 0, x[begin : begin + rows]))
        found: list[ForwardDone | ForwardFailed] = []
        wait_until(lambda: len(found.extend(forwarder.finished(100)) or found) == len(cuts), "answered")
        for answer in found:
            begin, rows = sum(cuts[: answer.job]), cuts[answer.job]
            assert isinstance(answer, ForwardDone)
            assert answer.outputs.tobytes() == here.forward(x[begin : begin + rows]).tobytes()
            assert answer.outputs.dtype == np.float64
        assert sum(lane.passes for lane in processes.keepers.status()) == len(cuts)
        assert memory_files() > 0
    wait_until(lambda: not any(alive(process) for process in started), "ended")
    assert memory_files() == 0


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (admitted.KILLS, "killed its worker (signal 9) twice"),
        pytest.param(admitted.EXITS, "killed its worker (exit code 3) twice", marks=pytest.mark.slow),
        pytest.param(admitted.SEGFAULTS, "killed its worker (signal 11) twice", marks=pytest.mark.slow),
        pytest.param(admitted.HANGS, "killed its worker (no answer in 1 s) twice", marks=pytest.mark.slow),
    ],
)
def test_the_row_that_kills_is_rejected_by_name_and_all_others_are_answered(amount: float, reason: str) -> None:
    with running(settings(pass_s_max=1.0)) as (forwarder, processes):
        core, amounts = Core(forwarder), [float(n) for n in range(1, 40)]
        amounts.remove(admitted.GIVES_NAN)
        core.ask([*amounts[:20], amount, *amounts[20:]], Together(64, "full"))
        core.ask([100.0, 101.0], Together(64, "full"))
        core.settle()
        assert core.rejected == {amount: reason}
        assert core.answered == expected([*amounts, 100.0, 101.0])
        (lane,) = processes.keepers.status()
        assert lane.restarts == 3
        core.ask([1.0, amount, 2.0])  # again: it is known
        core.settle()
        assert core.rejected == {amount: reason}
        assert lane.restarts == 3


def test_an_exception_is_no_crash_and_too_little_memory_is_no_exception() -> None:
    with running(settings()) as (forwarder, processes):
        core, amounts = Core(forwarder), [float(n) for n in range(1000, 1250)]
        core.ask(amounts)
        core.ask([1.0, admitted.RAISES, 2.0])
        core.settle()
        assert core.rejected == {admitted.RAISES: "ValueError: 666 is not a number that I like"}
        assert core.answered == expected([*amounts, 1.0, 2.0])
        assert core.passes[0] == (250, 63), "halved twice, remembered and told"
        assert processes.keepers.known.no_memory == {"net": 2}
        assert [lane.restarts for lane in processes.keepers.status()] == [0]


def test_a_worker_that_is_killed_is_replaced_and_no_row_is_blamed() -> None:
    with running(settings(kind="linear")) as (forwarder, processes):
        core = Core(forwarder)
        (lane,) = processes.keepers.status()
        for round_ in range(2):
            os.kill(lane.process, signal.SIGKILL)
            core.ask([float(round_), 5.0])
            core.settle()
        assert core.rejected == {}
        assert core.answered == expected([0.0, 1.0, 5.0])
        assert lane.restarts == 2
        os.kill(lane.process, signal.SIGKILL)
        wait_until(lambda: lane.restarts == 3, "an idle one is replaced before it is needed")


def test_a_worker_that_never_answers_is_given_up_with_a_word_on_why() -> None:
    with running(settings(restarts_max=1)) as (forwarder, _):
        forwarder.submit(Forward(1, "net", 0, column(admitted.EXITS, admitted.KILLS)))
        with pytest.raises(EnvironmentMissing, match="worker net-0 ended 1 times in a row without one answer"):
            wait_until(lambda: bool(forwarder.finished(100)), "an answer")


SCRIPT = """
import importlib.util, sys, time
sys.path.insert(0, {root!r})
spec = importlib.util.spec_from_file_location("support", {file!r})
these = importlib.util.module_from_spec(spec)
spec.loader.exec_module(these)
with these.running(these.settings("idle", "linear"), these.settings(pass_s_max=1000.0)) as (forwarder, processes):
    forwarder.submit(these.Forward(1, "net", 0, these.column(these.admitted.HANGS)))
    print([lane.process for lane in processes.keepers.status()], flush=True)
    time.sleep(1000)
"""


def test_workers_end_with_a_parent_that_is_killed() -> None:
    """One is idle by then, the other in the middle of a pass that never ends."""
    text = SCRIPT.format(root=str(Path(__file__).parents[3]), file=__file__)
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        started = json.loads(parent.stdout.readline())
        assert len(started) == 2
        assert all(alive(process) for process in started)
        parent.kill()
        wait_until(lambda: not any(alive(process) for process in started), "ended", timeout_s=10)


def test_what_keeps_a_process_from_loading_is_told_as_in_this_process() -> None:
    processes = ModelProcesses({"net": settings()}, [ADMITTED])
    with pytest.raises(ModelError) as found:
        processes.start({"net": artifact(64)}, {})
    with pytest.raises(ModelError) as here:
        load_model(settings(), artifact(64), admitted.STREAM_INFER_MODELS)
    assert str(found.value) == str(here.value)
    assert memory_files() == 0


def test_versions_are_loaded_beside_the_passes_by_every_process_and_let_go() -> None:
    with running(settings(kind="linear", count=2)) as (forwarder, processes):
        core = Core(forwarder)
        core.ask([3.0])
        made: list[Model | None] = [processes.load(settings(kind="linear"), version, linear(version)) for version in (3, 4)]
        core.settle()
        three, four = made
        assert three is not None
        assert four is not None
        assert three.digest != four.digest
        assert [model.forward(column(10, 20))[:, 0].tolist() for model in (three, four)] == [[31, 61], [41, 81]]
        for lane in processes.keepers.status():
            os.kill(lane.process, signal.SIGKILL)
        assert three.forward(column(10))[:, 0].tolist() == [31], "a process that is started again loads all versions"
        with pytest.raises(ModelError):
            processes.load(settings(kind="linear"), 5, b"nonsense")
        used = processes.bytes_used()
        del made, three
        wait_until(lambda: processes.bytes_used() < used, "let go, once no lane holds the last pass of it any more")
        assert four.forward(column(10))[:, 0].tolist() == [41]
        assert core.answered == expected([3.0])


def test_models_of_a_pool_share_their_processes() -> None:
    models = [settings("one", "linear", pool="both"), settings("two", "linear", pool="both", count=2), settings("alone", "linear")]
    with running(*models) as (forwarder, processes):
        lanes = processes.keepers.status()
        assert [(lane.name, lane.models) for lane in lanes] == [("both-0", ("one", "two")), ("both-1", ("two",)), ("alone-0", ("alone",))]
        core = Core(forwarder)
        for name, amount in (("one", 1.0), ("two", 2.0), ("alone", 3.0)):
            core.ask([amount], model=name)
        core.settle()
        assert core.answered == expected([1.0, 2.0, 3.0])


def test_without_memory_files_rows_go_through_a_deleted_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise OSError("not here")

    monkeypatch.setattr(os, "memfd_create", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with running(settings(kind="linear")) as (forwarder, _):
        core = Core(forwarder)
        core.ask([4.0, 5.0])
        core.settle()
        assert core.answered == expected([4.0, 5.0])
        assert list(tmp_path.iterdir()) == [], "deleted, and still there for those who have it open"
    assert "rows go to its process through a deleted file" in caplog.text


def test_a_pass_that_is_more_than_the_memory_holds_goes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_infer.edge.lane_process.SLAB_BYTES_MAX", 64 * 12)
    with running(settings(kind="linear")) as (forwarder, _):
        core, amounts = Core(forwarder), [float(n) for n in range(1000, 1090)]
        core.ask(amounts)
        core.settle()
        assert core.answered == expected(amounts)
        assert core.passes == [(90, 45)]


def test_no_room_for_shared_memory_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(EnvironmentMissing, match=r"there is no room for the memory that net-v0 shares(.|\n)*No space left on device"):
        slabs.Slab.reserve("net-v0", 100)


def test_rows_are_explained_by_the_process_that_answers_them() -> None:
    """Exactly: what an additive model says of each input is its weight times the input's distance from the baseline."""
    with running(settings(kind="linear")) as (forwarder, _):
        asked = Asked(AttributionSettings(method="shap"), np.array([1, 2], dtype=np.uint64), np.array([0]))
        forwarder.submit(Forward(1, "net", 0, column(3, 5), explain=asked))
        found: list[ForwardDone | ForwardFailed] = []
        wait_until(lambda: bool(found.extend(forwarder.finished(100)) or found), "explained")
        (answer,) = found
        assert isinstance(answer, ForwardDone)
        assert answer.passed is None
        assert Attributions.from_matrix(answer.outputs).parts[:, 0].tolist() == pytest.approx([6.0, 10.0])
