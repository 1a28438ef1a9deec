"""topology.spec_rollout: stages that share rows between models by rule: splits, canaries. spec_deciding → *spec_rollout* → spec."""

from __future__ import annotations

from stream_infer.topology.shape import Setting, choice, integer, listing, number, place, text
from stream_infer.topology.spec_deciding import deciding
from stream_infer.topology.spec_names import DECIDER, FIELD, KIND_DOC, SECONDS

_SEED = Setting("seed", integer(low=0, high=2**63 - 1), "draws are a function of this and of `by`, or the prediction's id", "7", default=0)
_SHARE = number(above=0, high=1)
_ROWS = integer(low=1, high=10**9)
_BY = Setting("by", FIELD, "rows with the same value of this field get the same arm (default: each row is drawn by itself)", "user_id")

ROLLOUTS = (
    deciding(
        "split",
        "An A/B test: each model answers its share of the rows. the command `models share` changes the shares while it runs.",
        Setting("arms", listing(text(names=("model",)), at_least=2), "the models", "[ridge, deep]", required=True),
        Setting("shares", listing(number(low=0, high=1), at_least=2), "their shares, in this order", "[0.9, 0.1]", required=True),
        _BY,
        _SEED,
    ),
    deciding(
        "canary",
        "A challenger takes over from the champion step by step, and loses all rows when it does worse. It begins again when the "
        "challenger gets another version.",
        Setting("champion", text(names=("model",)), "the model that answers", "ridge", required=True),
        Setting("challenger", text(names=("model",)), "the model that is tried", "deep", required=True),
        Setting("steps", listing(_SHARE, at_least=1), "its shares, ascending; then it has all rows", "[0.01, 0.1, 0.5]", required=True),
        Setting("every_s", SECONDS, "event time of each step, at least", "3600", required=True),
        Setting("rows_min", _ROWS, "so many rows of the challenger before it is judged, or goes on", "100", default=100),
        Setting(
            "rejects_above",
            number(low=0, high=1),
            "it is rolled back when it rejects so much more of its rows than the champion",
            "0.01",
            default=0.01,
        ),
        Setting("differ_by", number(low=0), "with the champion in `shadow`: answers further apart than this differ", "5"),
        Setting(
            "differ_share_max",
            number(low=0, high=1),
            "with `differ_by`: it is rolled back when a larger share of its answers differs",
            "0.1",
            default=0.1,
        ),
        Setting(
            "reward_below",
            number(low=0, high=1),
            "with a feedback stage: it is rolled back when its mean reward is so much below the champion's, beyond doubt (95 %), and goes "
            "on only after `rows_min` more of its rows were rewarded",
            "0.02",
        ),
        Setting(
            "latency_above",
            number(low=1, high=1e6),
            "it is rolled back when its forward passes take so many times as long as the champion's of as many rows, beyond doubt (95 %); "
            "a deterministic run knows no clock, and does not ask",
            "1.5",
        ),
        _BY,
        _SEED,
    ),
    place(
        "stage.shadow",
        "a shadow stage",
        "A model says what it would have answered, on a topic of its own. It never answers, and cannot spoil an answer.",
        Setting("kind", choice("shadow"), KIND_DOC, "shadow", required=True),
        Setting("from", DECIDER, "beside whose answers", "eta", required=True),
        Setting("model", text(names=("model",)), "the model", "deep", required=True),
        Setting("share", number(above=0, high=1), "of the answers, by the hash of their ids: the same in every run", "0.1", default=1.0),
        Setting("to", text(names=("stream",)), "the stream of what it says, keyed by prediction_id", "deep_says", required=True),
    ),
)
