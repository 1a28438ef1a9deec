"""topology.spec_composed: models that are made of other models. spec_names → *spec_composed* → spec."""

from __future__ import annotations

from stream_infer.topology.shape import Setting, choice, either, integer, listing, mapping, number, place, section, text
from stream_infer.topology.spec_names import MS

_MODEL = text(names=("model",))

COMPOSED_MODELS = (
    place(
        "model.ensemble",
        "an ensemble",
        "Several models answer each row, and one answer is made of theirs. It stands wherever a model may stand.",
        Setting("kind", choice("ensemble"), "what the model is", "ensemble", required=True),
        Setting(
            "members",
            either(listing(_MODEL, at_least=2), mapping(number(above=0, high=1e6), at_least=2)),
            "the models, or the models with their weights",
            "{ridge: 2, net: 1}",
            required=True,
        ),
        Setting(
            "combine",
            either(choice("mean", "weighted_mean", "vote"), section("combine")),
            "mean, weighted_mean: of each output; vote: the share of the votes for each class, of members with one output the share that "
            "says yes; or a model over the members' outputs",
            "weighted_mean",
            default="mean",
        ),
        Setting("threshold", number(), "with `vote`: a member with one output says yes from here on (default: 0.5)", "0.5"),
        Setting("quorum", integer(low=1, high=62), "so many members must answer, or the row is rejected (default: all)", "2"),
        Setting(
            "wait_ms_max",
            MS,
            "members that have not answered so long after they were asked are left out of the row, and `missing` names them "
            "(default: they are waited for; in a deterministic run nobody is late)",
            "50",
        ),
        Setting("fallback", _MODEL, "answers the rows for which there is no quorum; their `confidence` is 0", "static"),
    ),
    place(
        "combine",
        "the way to combine",
        "A model reads what the members said.",
        Setting("stack", _MODEL, "a model whose `inputs` name members with `output_of`", "judge", required=True),
    ),
    place(
        "model.cascade",
        "a cascade",
        "A cheap model answers; a dear one answers the rows where the cheap one is not sure, and runs for no others.",
        Setting("kind", choice("cascade"), "what the model is", "cascade", required=True),
        Setting("first", _MODEL, "the cheap model", "small", required=True),
        Setting("then", _MODEL, "the dear model", "large", required=True),
        Setting(
            "unless",
            text(),
            "one comparison of `max_probability`, `margin` (between the two largest outputs; of one output p: |2p - 1|), `answer` or "
            "`confidence` (of an ensemble); where it does not hold, the dear model answers",
            "max_probability >= 0.9",
            required=True,
        ),
    ),
    place(
        "model.route",
        "a route",
        "Columns of the row say which model answers it.",
        Setting("kind", choice("route"), "what the model is", "route", required=True),
        Setting(
            "when",
            listing(section("case"), at_least=1),
            "cases; the first that holds counts",
            "[{where: country == DE, use: german}]",
            required=True,
        ),
        Setting("otherwise", _MODEL, "the model for the other rows", "world", required=True),
    ),
    place(
        "case",
        "a case of a route",
        "Rows for which one comparison holds have a model of their own.",
        Setting("where", text(), "one comparison: a name, an operator, a literal", "country == DE", required=True),
        Setting("use", _MODEL, "the model that answers them", "german", required=True),
    ),
)
