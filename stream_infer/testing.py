"""testing: is this model fit to serve? A battery for models of one's own. edge, models → *testing* → cli.

from stream_infer.testing import check_model

def test_my_model_can_serve() -> None:
    report = check_model("models/eta.onnx", inputs=["hour", "distance"])
    assert report.ok, report
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stream_infer.batching.curve import SIZES_PROBED, CostCurve
from stream_infer.edge.artifacts import read_artifact
from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.models.base import BATCH_DIFFERENCE_MAX, Model, Registry, batch_difference, check_digest, check_shape, model_error
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.models.tensors import read_tensors
from stream_infer.records import Floats, Matrix
from stream_infer.topology.check_artifacts import ENDINGS

ROWS = 64  # asked about; enough that a race between threads or a mean over the batch shows
TURNS = 20  # of each of two threads


@dataclass(frozen=True)
class ModelReport:
    """What was found. problems: messages of the form what, got, expected, fix; none where the model can serve.

    batch_difference: how far answers to a row lie apart in batches of several sizes, as a share of the largest. curve: seconds by rows.
    """

    file: str
    digest: str
    columns: tuple[str, ...]
    outputs: int
    problems: tuple[str, ...]
    batch_difference: float
    curve: CostCurve

    @property
    def ok(self) -> bool:
        """Whether it can serve."""
        return not self.problems

    def __str__(self) -> str:
        """The problems, then what the model is and what it costs."""
        lines = [*self.problems]
        if self.outputs:
            inputs = ", ".join(self.columns[:6]) + (", …" if len(self.columns) > 6 else "")
            lines += [
                f"{self.file}: {len(self.columns)} inputs ({inputs}), {self.outputs} outputs, sha256 {self.digest or 'none'}",
                f"    answers by batch size differ by at most {self.batch_difference:.2g} of the largest (limit {BATCH_DIFFERENCE_MAX:g})",
            ]
        for rows, seconds in zip(self.curve.sizes, self.curve.seconds, strict=True):
            lines.append(f"    {rows:>5} rows  {1e6 * seconds:>10,.0f} µs  {1e6 * seconds / rows:>9,.2f} µs a row")
        if self.curve.sizes:
            lines.append(f"    batches of {self.curve.best()} rows are best; `batch: {{rows_max: …}}` limits them")
        return "\n".join([*lines, "fit to serve" if self.ok else "not fit to serve"])


def check_model(
    model: Model | str | Path,
    *,
    inputs: Sequence[str] = (),
    kind: str | None = None,
    rows: Matrix | None = None,
    model_class: str = "mlp",
    registry: Registry | None = None,
    trusted: bool = False,
    sha256: str | None = None,
    output: str | None = None,
    device: str = "cpu",
    seconds: float = 1.0,
) -> ModelReport:
    """Load a model as a topology would, ask it in every way that a run asks, and say what is wrong. Nothing is raised for a bad model.

    model: a path, or an object that has columns, outputs, digest and forward. inputs: names of its columns, where the file has none.
    kind: of the file (default: by its ending). rows: float32[n, columns], n ≥ 8, that it should be asked about (default: random ones).
    trusted: the file may run code. seconds: spent on the cost curve. Raises EnvironmentMissing where a library is absent.
    """
    if isinstance(model, str | Path):
        path = Path(model)
        try:
            data = read_artifact(path.name, str(path.parent), sha256)
            chosen = kind or _kind_of(path.name, data)
            settings = ModelSettings(
                name=path.stem,
                kind=chosen,
                inputs=tuple(Input(name) for name in inputs),
                artifact=path.name,
                model_class=model_class,
                sha256=sha256 or (check_digest(data, None, path.name) if trusted else None),
                trusted=trusted,
                device=device,
                output=output,
                batch_variant="allow",  # it is measured below, and told with everything else
            )
            loaded = load_model(settings, data, registry or {})
        except ModelError as error:
            return ModelReport(path.name, "", tuple(inputs), 0, (str(error),), 0.0, CostCurve((), ()))
        return _checked(loaded, path.name, rows, seconds)
    return _checked(model, type(model).__name__, rows, seconds)


def _kind_of(file: str, data: bytes) -> str:
    if file.endswith(".safetensors"):
        return "linear" if read_tensors(data, file).metadata.get("kind") == "linear" else "torch"
    for kind, endings in ENDINGS.items():
        if file.endswith(tuple(ending for some in endings for ending in some)):
            return kind
    raise model_error("the file's kind is not known", file, expected=", ".join(ENDINGS), fix="say it: kind=…")


def _checked(model: Model, file: str, rows: Matrix | None, seconds: float) -> ModelReport:
    asked = _rows(len(model.columns)) if rows is None else np.ascontiguousarray(rows, dtype=np.float32)
    problems = []
    difference = 0.0
    for check in _CHECKS:
        try:
            check(model, asked, file)
        except ModelError as error:
            problems.append(str(error))
        except Exception as error:  # noqa: BLE001 — the model is the user's code; whatever it raises is what he wants to know
            first = (str(error).splitlines() or [""])[0][:300]
            got = f"{type(error).__name__}: {first}"
            problems.append(str(model_error(f"{check.__name__[1:].replace('_', ' ')}: the model raises", file, got=got)))
        if problems and check is _shapes:
            return ModelReport(file, model.digest, tuple(model.columns), model.outputs, tuple(problems), 0.0, CostCurve((), ()))
    difference = batch_difference(model, asked)
    if difference > BATCH_DIFFERENCE_MAX:
        problems.append(str(_varies(difference, file)))
    curve = _curve(model, asked, seconds)
    return ModelReport(file, model.digest, tuple(model.columns), model.outputs, tuple(problems), difference, curve)


def _rows(columns: int) -> Matrix:
    return np.random.default_rng(0).normal(size=(ROWS, columns)).astype(np.float32)


def _varies(difference: float, file: str) -> ModelError:
    return model_error(
        "a row's answer depends on the rows beside it in the batch",
        file,
        got=f"answers that differ by {difference:.2g} of the largest",
        expected=f"at most {BATCH_DIFFERENCE_MAX:g}",
        fix="normalise by what was trained, not by the batch; `batch_variant: allow` serves it all the same",
    )


# ---------------------------------------------------------------------------------------------------------------- the checks


def _shapes(model: Model, x: Matrix, file: str) -> None:
    """float64[n, outputs], finite, whatever n."""
    for count in (1, 2, 7, len(x)):
        out: object = model.forward(x[:count])  # a user's class may answer anything
        if not isinstance(out, np.ndarray) or out.dtype != np.float64:
            got = str(out.dtype) if isinstance(out, np.ndarray) else type(out).__name__
            raise model_error(
                "the answer is of another type", file, got=got, expected="a numpy array of float64", fix="answers.astype(float)"
            )
        check_shape(out.shape, min(count, len(x)), model.outputs, file)
        if not np.isfinite(out).all():
            got = str(out[~np.isfinite(out)][0])
            raise model_error(
                "an answer is not finite", file, got=got, expected="finite numbers", fix="check the weights and the inputs' scale"
            )


def _same_again(model: Model, x: Matrix, file: str) -> None:
    """The same rows, the same answers, to the last bit; also where the rows lie otherwise in memory."""
    first = model.forward(x).copy()
    for what, rows in (("asked again", x), ("in another order of memory", np.asfortranarray(x))):
        apart = _apart(first, model.forward(rows))
        if apart > (0 if rows is x else BATCH_DIFFERENCE_MAX):
            raise model_error(
                f"the same rows {what} have other answers",
                file,
                got=f"answers that differ by {apart:.2g} of the largest",
                expected="the same",
                fix="no chance and no memory in forward(): eval(), a fixed seed, no state",
            )


def _inputs_untouched(model: Model, x: Matrix, file: str) -> None:
    """The rows belong to whoever asks."""
    rows = x.copy()
    model.forward(rows)
    if rows.tobytes() != x.tobytes():
        raise model_error(
            "the model writes into its inputs", file, got="other rows after than before", expected="untouched", fix="copy first"
        )
    rows.flags.writeable = False
    model.forward(rows)


def _answers_kept(model: Model, x: Matrix, file: str) -> None:
    """An answer is not overwritten by the next."""
    first = model.forward(x)
    kept = first.copy()
    model.forward(x[::-1].copy())
    if first.tobytes() != kept.tobytes():
        fix = "return an array of its own each time"
        raise model_error(
            "an answer changes when the model is asked again", file, got="one buffer for all", expected="answers that last", fix=fix
        )


def _threads(model: Model, x: Matrix, file: str) -> None:
    """Two threads ask at once, and each gets its own answers."""
    halves = [x[: len(x) // 2].copy(), x[len(x) // 2 :].copy()]
    expected = [model.forward(half).copy() for half in halves]
    worst = [0.0, 0.0]
    raised: list[BaseException] = []
    start = threading.Barrier(len(halves))

    def ask(number: int) -> None:
        try:
            start.wait()
            for _ in range(TURNS):
                worst[number] = max(worst[number], _apart(expected[number], model.forward(halves[number])))
        except BaseException as error:  # noqa: BLE001 — told by whoever waits for the thread
            raised.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(halves))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
    if max(worst) > 0:
        raise model_error(
            "two threads that ask at once get other answers than one",
            file,
            got=f"answers that differ by {max(worst):.2g} of the largest",
            expected="the same",
            fix="keep nothing of a pass in the model: no buffers, no counters",
        )


def _odd_rows(model: Model, x: Matrix, file: str) -> None:
    """Rows that hold NaN or infinity spoil nobody's answer but their own."""
    odd = x.copy()
    places = (1, 3, 5)
    for place, value in zip(places, (np.nan, np.inf, -np.inf), strict=True):
        odd[place, place % x.shape[1]] = value
    others = np.setdiff1d(np.arange(len(x)), places)
    try:
        with np.errstate(all="ignore"):
            out = model.forward(odd)[others]
    except Exception as error:
        raise model_error(
            "a row with NaN or infinity fails the whole batch",
            file,
            got=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}",
            expected="NaN as that row's answer, and the others' as ever",
            fix="answer NaN for rows that cannot be answered",
        ) from error
    apart = _apart(model.forward(x)[others], out)
    if not apart <= BATCH_DIFFERENCE_MAX:
        raise model_error(
            "a row with NaN or infinity changes the answers of its neighbours",
            file,
            got=f"answers that differ by {apart:.2g} of the largest",
            expected="each row for itself",
            fix="nothing across the rows of a batch: no mean, no sorting, no attention over it",
        )


_CHECKS: tuple[Callable[[Model, Matrix, str], None], ...] = (_shapes, _same_again, _inputs_untouched, _answers_kept, _threads, _odd_rows)


def _apart(a: Floats, b: Floats) -> float:
    """The largest difference as a share of the largest answer of its column; NaN where one is."""
    scale = np.abs(a).max(axis=0, initial=0.0)
    scale[scale == 0] = 1.0
    return float((np.abs(a - b) / scale).max(initial=0.0))


def _curve(model: Model, x: Matrix, seconds: float) -> CostCurve:
    """What passes cost, the smallest first, until the time is used up."""
    samples: list[tuple[int, float]] = []
    end = time.perf_counter() + seconds
    for size in SIZES_PROBED:
        rows = np.resize(x, (size, x.shape[1]))
        for _ in range(4):
            began = time.perf_counter()
            model.forward(rows)
            samples.append((size, time.perf_counter() - began))
        if time.perf_counter() > end:
            break
    return CostCurve.fit(samples)
