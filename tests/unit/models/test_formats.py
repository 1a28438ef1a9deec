"""Every format: answers as its own library gives them, and every way a file can be bad. Oracle: the library asked directly."""

from __future__ import annotations

import hashlib
import io
import warnings

import numpy as np
import pytest
import torch

from stream_infer.errors import ModelError
from stream_infer.models.base import Model
from stream_infer.models.load import load_model
from tests.unit.models.makers import COLUMNS, FORMATS, Made, everything, net, rows


def load(made: Made, data: bytes | None = None, **changes: object) -> Model:
    data = made.data if data is None else data
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*TorchScript is deprecated, and PyTorch will drop it", category=FutureWarning)
        return load_model(made.settings(data=data, **changes), data, {})


@pytest.fixture(params=FORMATS)
def made(request: pytest.FixtureRequest) -> Made:
    return everything()[request.param]


def test_answers_are_the_library_s_own(made: Made) -> None:
    model = load(made)
    for count in (1, 2, 40):
        x = rows(count)
        x.flags.writeable = False
        out = model.forward(x)
        assert out.dtype == np.float64
        assert out.shape == (count, model.outputs)
        assert out == pytest.approx(made.answers(x.copy()), rel=1e-6, abs=1e-6)
    assert (model.columns, model.digest) == (COLUMNS, hashlib.sha256(made.data).hexdigest())


def test_strided_rows_are_fine(made: Made) -> None:
    model = load(made)
    x = np.asfortranarray(rows(9))
    assert model.forward(x).tobytes() == model.forward(x.copy(order="C")).tobytes()


def test_another_checksum_is_refused_before_a_byte_is_read(made: Made) -> None:
    for data in (made.data, b"", b"\x80nonsense"):
        with pytest.raises(ModelError, match=rf"models/{made.file}: the file is not the one that is pinned(.|\n)*expected: +sha256 0000"):
            load(made, data, sha256="0" * 64)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95, 0.999])
def test_a_file_cut_off_is_refused(made: Made, share: float) -> None:
    cut = made.data[: min(int(len(made.data) * share), len(made.data) - 2)]
    if made.kind == "lightgbm" and b"\nend of parameters\n" in cut:  # what follows is empty
        cut = made.data[: cut.index(b"end of parameters")]
    with pytest.raises(ModelError, match=rf"models/{made.file}: "):
        load(made, cut)


@pytest.mark.parametrize("columns", [("a", "b"), ("a", "b", "c", "d")])
def test_another_width_is_refused(made: Made, columns: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=rf"models/{made.file}: .*(another number of inputs|refuses a batch of one row)"):
        load(made, columns=columns)
    model = load(made)
    with pytest.raises(ModelError, match="another width"):
        model.forward(np.zeros((2, len(columns)), dtype=np.float32))


def test_other_columns_are_refused_where_the_file_names_its_own(made: Made) -> None:
    if not made.named:
        assert load(made, columns=("x", "y", "z")).columns == ("x", "y", "z")
        return
    with pytest.raises(ModelError, match=r"column 1 of the model is another(.|\n)*got: +b\n +expected: y"):
        load(made, columns=("a", "y", "c"))


def test_without_inputs_the_file_s_own_names_or_numbers_are_taken(made: Made) -> None:
    if made.file.endswith((".pt", ".pt2")):
        return  # programs say nothing of their inputs
    assert load(made, columns=()).columns == (COLUMNS if made.named else ("0", "1", "2"))


def test_nothing_that_runs_code_is_loaded_without_trust_and_a_pin(made: Made) -> None:
    if not made.trusted:
        return
    digest = hashlib.sha256(made.data).hexdigest()
    for changes in ({"trusted": False, "sha256": None}, {"trusted": True, "sha256": None}, {"trusted": False, "sha256": digest}):
        with pytest.raises(ModelError, match="code when it is loaded"):
            load(made, **changes)


class Harm:
    """What a pickle can do."""

    done = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return harm, ()


def harm() -> None:
    Harm.done = True


def test_no_pickle_is_read_under_any_name(made: Made) -> None:
    buffer = io.BytesIO()
    torch.save({"weight": Harm()}, buffer)
    import pickle

    for data in (buffer.getvalue(), pickle.dumps(Harm())):
        trusted = {"trusted": True} if made.file.endswith((".pt", ".pt2")) else {"trusted": False}  # there, trust is not enough either
        with pytest.raises(ModelError, match=rf"models/{made.file}: "):
            load(made, data, **trusted)
    assert not Harm.done


def test_a_state_dict_named_like_a_program_says_what_to_do() -> None:
    buffer = io.BytesIO()
    torch.save(net().state_dict(), buffer)
    for name in ("pt2", "torchscript"):
        with pytest.raises(ModelError, match=r"holds a pickle of torch.save(.|\n)*safetensors"):
            load(everything()[name], buffer.getvalue())


def test_a_net_in_torchscript_is_said_to_be_deprecated() -> None:
    made = everything()["torchscript"]
    with pytest.warns(FutureWarning, match=r"models/m.pt: TorchScript is deprecated.*torch.export") as said:
        load_model(made.settings(), made.data, {})
    assert len(said) == 1
