"""decide.fitting: do loaded models fit together as the topology puts them? models → *fitting* → the edge, before the first row."""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.decide.composed import Composed, Ensemble, phases
from stream_infer.decide.graph import Graph
from stream_infer.models.base import Model, model_error
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import ModelSettings


def check_fitting(settings: Mapping[str, ModelSettings], composed: Mapping[str, Composed], models: Mapping[str, Model]) -> dict[str, int]:
    """Numbers per answer of every model, composed ones too. models: loaded. ModelError where two do not fit together."""
    widths = {name: model.outputs for name, model in models.items()}
    for name, node in Graph.of([*settings, *composed], settings, composed).nodes.items():
        if node.repeats is not None:
            continue
        made = composed.get(name)
        if made is None:
            continue
        if isinstance(made, Ensemble) and made.combine == "vote":
            _check_votes(made, models)
        asked = phases(made)
        answering = [part for phase in (asked[1:] if isinstance(made, Ensemble) and made.judge is not None else asked) for part in phase]
        for part in answering:
            if widths[part] != widths[answering[0]]:
                raise model_error(
                    f"the models of `{name}` answer with different numbers of outputs",
                    f"model {name}",
                    got=f"{answering[0]}: {widths[answering[0]]}, {part}: {widths[part]}",
                    expected="the same number, for they take each other's place",
                    fix="train them alike, or put a model between that reads the one and answers like the other",
                )
        widths[name] = widths[answering[0]]
    for one in settings.values():  # now that all composed ones have theirs: a judge may read one, and asks nobody itself
        _check_reads(one, widths)
    return widths


def _check_reads(model: ModelSettings, widths: Mapping[str, int]) -> None:
    for entry in model.inputs:
        wanted, there = len(entry.columns()), widths.get(entry.field, 0)
        if entry.kind == "output" and there != wanted:
            raise model_error(
                f"model {model.name} reads another number of outputs than model {entry.field} has",
                f"model {model.name}",
                got=f"size {wanted}",
                expected=f"size {there}",
                fix=f"write `{{output_of: {entry.field}, size: {there}}}`, and train {model.name} on so many",
            )


def _check_votes(ensemble: Ensemble, models: Mapping[str, Model]) -> None:
    """One number without bounds is no vote, unless someone says from where on it means yes."""
    for name in ensemble.members:
        member = models.get(name)
        if isinstance(member, LinearModel) and member.outputs == 1 and member.link == "identity" and ensemble.threshold is None:
            raise model_error(
                f"the members of `{ensemble.name}` vote, but {name} answers with a number, not with a class",
                f"model {ensemble.name}",
                got=f"{name}: a linear model with the link identity",
                expected="members that answer with probabilities, or a `threshold`",
                fix="combine them by mean, or say from where on a number means yes: `threshold: 15`",
            )
