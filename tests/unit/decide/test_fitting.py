"""Loaded models that do not fit together are told apart before the first row."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.decide.composed import Cascade, Composed, Ensemble
from stream_infer.decide.fitting import check_fitting
from stream_infer.decide.settings import Where
from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import ModelSettings


def linear(columns: tuple[str, ...], outputs: int, link: str = "logistic") -> LinearModel:
    return LinearModel(np.zeros((len(columns), outputs)), np.zeros(outputs), np.zeros(len(columns)), np.ones(len(columns)), link, columns)


SETTINGS = {
    "embed": ModelSettings("embed", "linear", (Input("x"),)),
    "one": ModelSettings("one", "linear", (Input("embed", "output", size=3),)),
    "two": ModelSettings("two", "linear", (Input("x"),)),
}
MODELS = {"embed": linear(("x",), 3), "one": linear(("embed[0]", "embed[1]", "embed[2]"), 1), "two": linear(("x",), 1)}


def both(combine: str = "mean", **more: object) -> dict[str, Composed]:
    return {"both": Ensemble("both", ("one", "two"), (1.0, 1.0), combine, 2, **more)}  # type: ignore[arg-type]


def test_what_fits_has_a_width() -> None:
    assert check_fitting(SETTINGS, both(), MODELS) == {"embed": 3, "one": 1, "two": 1, "both": 1}
    assert check_fitting(SETTINGS, both("vote"), MODELS)["both"] == 1


def test_a_model_that_reads_more_or_fewer_outputs_than_there_are() -> None:
    with pytest.raises(ModelError, match=r"model one reads another number of outputs than model embed has\n.*size 3\n.*size 2"):
        check_fitting(SETTINGS, {}, MODELS | {"embed": linear(("x",), 2)})


def test_members_of_different_widths() -> None:
    with pytest.raises(ModelError, match="the models of `both` answer with different numbers of outputs"):
        check_fitting(SETTINGS, both(), MODELS | {"two": linear(("x",), 2)})
    cascade: dict[str, Composed] = {"way": Cascade("way", "two", "embed", Where("margin", ">=", 0.5))}
    with pytest.raises(ModelError, match="the models of `way` answer with different numbers of outputs"):
        check_fitting(SETTINGS, cascade, MODELS)


def test_a_number_is_no_vote_unless_someone_says_from_where_on_it_means_yes() -> None:
    models = MODELS | {"two": linear(("x",), 1, "identity")}
    with pytest.raises(ModelError, match="the members of `both` vote, but two answers with a number"):
        check_fitting(SETTINGS, both("vote"), models)
    assert check_fitting(SETTINGS, both("vote", threshold=15.0), models)["both"] == 1


def test_a_judge_may_read_members_that_are_composed() -> None:
    reads = (Input("both", "output"), Input("two", "output"))
    settings = {"judge": ModelSettings("judge", "linear", reads), **SETTINGS}
    made = both() | {"court": Ensemble("court", ("both", "two"), (1.0, 1.0), "stack", 1, judge="judge")}
    assert check_fitting(settings, made, MODELS | {"judge": linear(("both", "two"), 1)})["court"] == 1
    wide = {**settings, "judge": ModelSettings("judge", "linear", (Input("both", "output", size=2), reads[1]))}
    with pytest.raises(ModelError, match="model judge reads another number of outputs than model both has"):
        check_fitting(wide, made, MODELS | {"judge": linear(("both[0]", "both[1]", "two"), 1)})
