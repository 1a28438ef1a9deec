"""decide.composed: what a topology may say of models that are made of other models. topology → *composed* → graph."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.decide.settings import Where

COMBINES = ("mean", "weighted_mean", "vote", "stack")
MEASURES = ("answer", "max_probability", "margin", "confidence")  # of an answer, that a cascade may ask about


@dataclass(frozen=True)
class Ensemble:
    """Members that all answer. combine: one of COMBINES; judge: with stack, the model that reads their outputs.

    weights: one per member, above zero. threshold: with vote, a member of one output votes yes from here on (None: 0.5). quorum: with fewer
    answers the row goes to the fallback, or is rejected. wait_ms_max: from asking the members; None: as long as it takes.
    """

    name: str
    members: tuple[str, ...]
    weights: tuple[float, ...]
    combine: str
    quorum: int
    judge: str | None = None
    threshold: float | None = None
    wait_ms_max: int | None = None
    fallback: str | None = None


@dataclass(frozen=True)
class Cascade:
    """`first` answers; where `unless` does not hold of its answer (a comparison of one of MEASURES), `then` does."""

    name: str
    first: str
    then: str
    unless: Where


@dataclass(frozen=True)
class Route:
    """The model of the first case that holds of the row's columns answers, `otherwise` where none does."""

    name: str
    cases: tuple[tuple[Where, str], ...]
    otherwise: str


Composed = Ensemble | Cascade | Route


def phases(model: Composed) -> tuple[tuple[str, ...], ...]:
    """The models that a composed one asks, in the order of asking: those of one phase at once, the next when they have answered."""
    if isinstance(model, Cascade):
        return (model.first,), (model.then,)
    if isinstance(model, Route):
        return (tuple(dict.fromkeys([*(name for _, name in model.cases), model.otherwise])),)
    later = [(name,) for name in (model.judge, model.fallback) if name is not None]
    return model.members, *later
