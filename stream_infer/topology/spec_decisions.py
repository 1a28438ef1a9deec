"""topology.spec_decisions: stages that answer rows and learn from what came of it. spec_deciding → *spec_decisions* → spec."""

from __future__ import annotations

from stream_infer.feedback_settings import TAKES
from stream_infer.topology.shape import (
    BOOLEAN,
    Setting,
    choice,
    integer,
    listing,
    number,
    one_of,
    place,
    text,
)
from stream_infer.topology.spec_deciding import deciding, late
from stream_infer.topology.spec_names import ANSWER_FIELDS, ANSWERED, DECIDER, FIELD, KIND_DOC, MS, SECONDS
from stream_infer.topology.spec_rollout import ROLLOUTS

DECISIONS = (
    deciding(
        "model",
        "One model answers every row.",
        Setting("model", text(names=("model",)), "the model", "ridge", required=True),
        Setting("fallback", text(names=("model",)), "with `late: fallback`: the model that answers late rows, a cheap one", "static"),
        late=late("serve", "fallback", "topic", "drop"),
    ),
    deciding(
        "bandit",
        "One of several models answers each row, drawn by a policy that learns from rewards; its probability is recorded.",
        Setting("arms", listing(text(names=("model",)), at_least=2), "the models to draw from", "[static, ridge]", required=True),
        Setting(
            "policy",
            one_of(thompson="policy.thompson", maillard="policy.maillard", epsilon_greedy="policy.epsilon_greedy"),
            "how an arm is drawn",
            "{maillard: {}}",
            required=True,
        ),
        Setting(
            "share_min",
            number(low=0, high=1),
            "each arm keeps at least this share of the rows, so that its reward stays measurable",
            "0.02",
            default=0.0,
        ),
        Setting("seed", integer(low=0, high=2**63 - 1), "draws are a function of this and the prediction's id", "7", default=0),
        Setting("segment", FIELD, "it learns apart for each value of this field: a country, a user (default: together)", "country"),
        Setting(
            "segments_max",
            integer(low=1, high=100_000),
            "with `segment`: the first so many values to earn a reward get a policy of their own; all other rows share the pooled one",
            "1000",
            default=1000,
        ),
        Setting(
            "segment_prior_rows",
            integer(low=0, high=10**9),
            "with `segment`: for a segment, the rewards of all others count as at most so many rows of each arm; 0: segments learn alone",
            "20",
            default=20,
        ),
    ),
    *ROLLOUTS,
    place(
        "policy.thompson",
        "the policy thompson",
        "Thompson sampling with a Beta posterior.",
        Setting(
            "prior", listing(number(above=0, high=1e9), at_least=2), "wins and losses before the first reward", "[1, 1]", default=(1.0, 1.0)
        ),
    ),
    place("policy.maillard", "the policy maillard", "Maillard sampling: probabilities in closed form. It has no settings: write {}."),
    place(
        "policy.epsilon_greedy",
        "the policy epsilon_greedy",
        "The best arm so far, except for a share drawn evenly.",
        Setting("epsilon", number(low=0, high=1), "that share", "0.1", default=0.1),
    ),
    place(
        "stage.emit",
        "an emit stage",
        "Answers go to a topic.",
        Setting("kind", choice("emit"), KIND_DOC, "emit", required=True),
        Setting("from", ANSWERED, "whose answers; a function stage behind a model or bandit adds columns to them", "eta", required=True),
        Setting("to", text(names=("stream",)), "the stream of predictions", "predictions", required=True),
        Setting(
            "fields",
            listing(choice(*ANSWER_FIELDS), at_least=1),
            "only these fields of each prediction, in this order (default: all; the last three only where models are made of others)",
            "[prediction_id, answer]",
        ),
        Setting("carry", listing(FIELD, at_least=1), "columns of the answered row that go along under their own names", "[origin, hour]"),
        Setting(
            "rejects",
            text(names=("stream",)),
            "the stream of rows that could not be used, with the reason (default: the topic NAME.rejects)",
            "rejects",
        ),
        Setting(
            "guarantee",
            choice("exactly_once", "at_least_once"),
            "exactly_once: answers, state and offsets commit together; at_least_once: answers show at once, but may repeat after a crash",
            "exactly_once",
            default="exactly_once",
        ),
        Setting(
            "commit_interval_ms",
            MS,
            "at most so long until answers are committed, hence visible to read_committed consumers",
            "100",
            default=100,
        ),
    ),
)

LEARNING = (
    place(
        "stage.feedback",
        "a feedback stage",
        "Decisions meet the rows that tell, later, what was right.",
        Setting("kind", choice("feedback"), KIND_DOC, "feedback", required=True),
        Setting("predictions", DECIDER, "whose decisions", "eta", required=True),
        Setting("feedback", text(names=("stream",)), "the stream that tells", "arrived", required=True),
        Setting("on", FIELD, "its text field that holds the prediction_id", "flight_id", required=True),
        Setting("label", FIELD, "its numeric field that is the truth", "arr_delay", required=True),
        Setting("wait_s_max", SECONDS, "event time after the decision within which feedback counts", "43200", required=True),
        Setting("early_s_max", number(low=0, high=1e9), "how long feedback that came before its decision waits for it", "60", default=0),
        Setting("take", choice(*TAKES), "which of several feedback rows of one decision makes the label", "first", default="first"),
        Setting(
            "feedback_id", FIELD, "the text field that names one feedback row, so that a repeat is known (default: its offset)", "event_id"
        ),
        Setting(
            "reward",
            one_of(closeness="reward.closeness", value="reward.value", match="reward.match"),
            "a number from 0 to 1 made of answer and label",
            "{closeness: {scale: 60}}",
            required=True,
        ),
        Setting("absent", number(nullable=True), "the label of a decision without feedback (default null: no reward at all)", "0"),
        Setting(
            "global",
            BOOLEAN,
            "every worker reads the whole feedback stream: where it is keyed otherwise than the decisions",
            "true",
            default=False,
        ),
    ),
    place(
        "reward.closeness",
        "the reward closeness",
        "1 - min(|answer - label| / scale, 1).",
        Setting("scale", number(above=0, high=1e12), "an answer so far off earns nothing", "60", required=True),
    ),
    place(
        "reward.value",
        "the reward value",
        "The label itself, clipped to [low, high] and scaled to 0 … 1.",
        Setting("low", number(), "earns 0", "0", default=0.0),
        Setting("high", number(), "earns 1", "1", default=1.0),
    ),
    place(
        "reward.match",
        "the reward match",
        "1 where answer and label lie on the same side of the threshold, else 0.",
        Setting("threshold", number(), "the border; a value equal to it counts as above", "0.5", default=0.5),
    ),
    place(
        "stage.learn",
        "a learn stage",
        "Policies and learning models update from rewards; new versions appear at event-time epochs.",
        Setting("kind", choice("learn"), KIND_DOC, "learn", required=True),
        Setting("from", text(names=("feedback stage",)), "the feedback that teaches", "outcome", required=True),
        Setting("every_s", SECONDS, "event time between two versions", "86400", required=True),
    ),
)
