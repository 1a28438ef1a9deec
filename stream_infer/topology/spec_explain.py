"""topology.spec_explain: the stage that explains answers. spec_names → *spec_explain* → spec."""

from __future__ import annotations

from stream_infer.attribution.settings import BASELINES, METHODS, SAMPLES, STEPS
from stream_infer.topology.shape import Setting, choice, either, integer, mapping, number, place, text
from stream_infer.topology.spec_names import DECIDER, KIND_DOC

EXPLAIN = (
    place(
        "stage.explain",
        "an explain stage",
        "A share of the answers is explained: what each input adds to the answer, against a baseline.",
        Setting("kind", choice("explain"), KIND_DOC, "explain", required=True),
        Setting("from", DECIDER, "whose answers", "eta", required=True),
        Setting("to", text(names=("stream",)), "the stream of explanations, keyed by prediction_id", "explanations", required=True),
        Setting(
            "share",
            number(above=0, high=1),
            "the share of answers that is explained, by the hash of their ids: the same ones in every run",
            "0.01",
            default=0.01,
        ),
        Setting(
            "method",
            choice(*METHODS),
            "auto: linear for linear models, integrated_gradients for nets, else shap; shap: Shapley values; lime: the linear "
            "model nearby; of models made of others: shap or lime",
            "auto",
            default="auto",
        ),
        Setting(
            "baseline",
            either(choice(*BASELINES), mapping(number())),
            "what inputs count against: zeros; mean: by which the model standardises; or numbers by input column (others 0)",
            "{distance: 1000}",
            default="zeros",
        ),
        Setting("output", integer(low=0, high=65_535), "which output of the model is explained; 0 is the answer", "0", default=0),
        Setting("steps", integer(low=1, high=4096), "of integrated_gradients: points on the way from the baseline", "64", default=STEPS),
        Setting(
            "samples",
            integer(low=2, high=1_000_000),
            "of shap and lime: rows asked for one explanation; all 2^n - 2 for n inputs make Shapley values exact",
            "512",
            default=SAMPLES,
        ),
        Setting("seed", integer(low=0, high=2**63 - 1), "what is drawn is a function of this and the prediction's id", "7", default=0),
        Setting("top_k", integer(low=1, high=65_536), "tell only so many inputs, those that add or take most (default: all)", "5"),
        Setting(
            "rows_max",
            integer(low=1, high=100_000),
            "at most so many explanations per chunk; further ones are skipped, and counted",
            "64",
            default=64,
        ),
    ),
)
