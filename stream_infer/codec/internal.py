"""codec.internal: the records this program writes for itself and for its users. schema → *internal* → flow.

PREDICTION and EXPLANATION are also schemas/prediction.avsc and schemas/explanation.avsc, for whoever reads them; a test holds them
equal. Of JOINED only names and kinds count: its rows travel in blocks (codec.block). Fields may be added at the end, with a default;
ids follow from the text.
"""

from __future__ import annotations

PREDICTION = """{
  "type": "record",
  "name": "Prediction",
  "namespace": "stream_infer",
  "doc": "One answer to one event, with everything needed to judge it later and to make it again.",
  "fields": [
    {"name": "prediction_id", "type": "string", "doc": "The event's own id where its stream has one, else topic-partition-offset."},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "When the event happened."},
    {"name": "stage", "type": "string", "doc": "The stage of the topology that answered."},
    {"name": "answer", "type": "double", "doc": "The answer: the first output of the model that answered."},
    {"name": "outputs", "type": {"type": "array", "items": "double"}, "doc": "All outputs of the model that answered."},
    {"name": "model", "type": "string", "doc": "Name of the model that answered."},
    {"name": "model_version", "type": "string", "doc": "Its version; a version never changes."},
    {"name": "arm", "type": "string", "doc": "The arm that was chosen."},
    {"name": "propensity", "type": "double", "doc": "The exact probability with which that arm was chosen."},
    {"name": "propensities", "type": {"type": "array", "items": "double"}, "doc": "Of all arms, in the topology's order."},
    {"name": "policy_version", "type": "long", "doc": "The policy that chose."},
    {"name": "shadows", "type": {"type": "array", "items": "double"}, "doc": "Answers of the shadow models, in the topology's order."},
    {"name": "source_topic", "type": "string", "doc": "Where the event was read: its topic,"},
    {"name": "source_partition", "type": "int", "doc": "its partition"},
    {"name": "source_offset", "type": "long", "doc": "and its offset."},
    {"name": "offsets", "type": {"type": "array", "items": "long"},
      "doc": "Next offset of each input when the chunk began; of an internal one, 65536 * offset + row."},
    {"name": "cut", "type": "long", "doc": "Number of the chunk within its task."}
  ]
}
"""

# Further fields, of stages whose models are made of other models (ensemble, cascade, route) or that name them in `fields`.
PREDICTION_COMPOSED = """[
  {"name": "answered_by", "type": ["null", "string"], "default": null, "doc": "Of a composed model, the model whose answer it is."},
  {"name": "missing", "type": ["null", "string"], "default": null,
    "doc": "Members of ensembles that it was made without, joined by commas; null: none."},
  {"name": "confidence", "type": ["null", "double"], "default": null,
    "doc": "Of an ensemble: the share of its weight that answered, times how far those agree; null: no ensemble had a part in it."}
]
"""

REJECT = """{
  "type": "record",
  "name": "Reject",
  "namespace": "stream_infer",
  "doc": "A record that could not be used, as it came, with the reason.",
  "fields": [
    {"name": "source_topic", "type": "string"},
    {"name": "source_partition", "type": "int"},
    {"name": "source_offset", "type": "long"},
    {"name": "stage", "type": "string", "doc": "Where it failed: the stage, or read for a record that could not be read."},
    {"name": "reason", "type": "string", "doc": "One line."},
    {"name": "key", "type": ["null", "bytes"]},
    {"name": "value", "type": ["null", "bytes"]}
  ]
}
"""

EXPLANATION = """{
  "type": "record",
  "name": "Explanation",
  "namespace": "stream_infer",
  "doc": "Which inputs made an answer what it is: attributions + rest + error = value - baseline.",
  "fields": [
    {"name": "prediction_id", "type": "string", "doc": "As in the prediction."},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "When the event happened."},
    {"name": "stage", "type": "string", "doc": "The stage that answered."},
    {"name": "model", "type": "string", "doc": "The arm that answered."},
    {"name": "model_version", "type": "string", "doc": "The version that answered, and that was asked again for the explanation."},
    {"name": "answer", "type": "double", "doc": "As in the prediction."},
    {"name": "method", "type": "string", "doc": "linear, integrated_gradients, shap or lime."},
    {"name": "unit", "type": "string", "doc": "What is explained: answer, or log_odds (of a linear model behind a logistic link)."},
    {"name": "output", "type": "int", "doc": "Which output of the model."},
    {"name": "value", "type": ["null", "double"], "doc": "Of the row, in that unit."},
    {"name": "baseline", "type": ["null", "double"], "doc": "Of the baseline, in that unit."},
    {"name": "error", "type": ["null", "double"], "doc": "What the attributions leave unexplained."},
    {"name": "inputs", "type": "string", "doc": "Names of the inputs, as a JSON list."},
    {"name": "values", "type": {"type": "array", "items": "double"}, "doc": "What each of these inputs was."},
    {"name": "attributions", "type": {"type": "array", "items": "double"}, "doc": "What each of them adds, against the baseline."},
    {"name": "rest", "type": ["null", "double"], "doc": "What the inputs add together that are not listed."},
    {"name": "fault", "type": ["null", "string"], "doc": "Why there is no explanation, where there is none."}
  ]
}
"""

SHADOW = """{
  "type": "record",
  "name": "Shadow",
  "namespace": "stream_infer",
  "doc": "What a model that never answers said of a row, beside the answer.",
  "fields": [
    {"name": "prediction_id", "type": "string"},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "stage", "type": "string", "doc": "The stage that answered."},
    {"name": "shadow", "type": "string", "doc": "The model in the shadow."},
    {"name": "shadow_version", "type": "string"},
    {"name": "shadow_answer", "type": ["null", "double"], "doc": "Null: it could not say anything."},
    {"name": "shadow_outputs", "type": {"type": "array", "items": "double"}},
    {"name": "fault", "type": ["null", "string"], "doc": "Why it could not."},
    {"name": "model", "type": "string", "doc": "The model that answered."},
    {"name": "model_version", "type": "string"},
    {"name": "answer", "type": "double", "doc": "Its answer."}
  ]
}
"""

JOINED = """{
  "type": "record",
  "name": "Joined",
  "namespace": "stream_infer",
  "doc": "A decision with its feedback, for the learn section: in blocks of many rows.",
  "fields": [
    {"name": "prediction_id", "type": "string"},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "Of the decision."},
    {"name": "closed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "Nothing can change the row from then on."},
    {"name": "arm", "type": "int"},
    {"name": "propensity", "type": "double"},
    {"name": "policy_version", "type": "long"},
    {"name": "answer", "type": "double"},
    {"name": "label", "type": ["null", "double"], "doc": "Null: no feedback came."},
    {"name": "reward", "type": ["null", "double"], "doc": "In 0 to 1; null: none was earned."},
    {"name": "features", "type": {"type": "array", "items": "float"}}
  ]
}
"""

# Of decisions of a policy that learns by segment.
_FEATURES = '"items": "float"}}'
_SEGMENT = '{"name": "segment", "type": "long", "doc": "The bits of the hash of its value."}'
JOINED_BY_SEGMENT = JOINED.replace(_FEATURES, f"{_FEATURES},\n    {_SEGMENT}")

CUT = """{
  "type": "record",
  "name": "Cut",
  "namespace": "stream_infer",
  "doc": "Where a task cut a chunk, so that the same rows can be worked through together again.",
  "fields": [
    {"name": "section", "type": "string"},
    {"name": "partition", "type": "int"},
    {"name": "cut", "type": "long", "doc": "Number of the chunk within its task."},
    {"name": "rows", "type": "int"},
    {"name": "reached", "type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "Event time that the task had reached."},
    {"name": "offsets", "type": {"type": "array", "items": "long"}, "doc": "As in predictions, in the plan's order."},
    {"name": "versions", "type": {"type": "array", "items": "long"}, "doc": "Of the policy, then of each model of the stage."},
    {"name": "ends", "type": {"type": "array", "items": "long"}, "default": [], "doc": "Next offset of each input after the chunk."},
    {"name": "passes", "type": {"type": "array", "items": "long"}, "default": [],
      "doc": "Five numbers per forward pass, of the models that had others than one of just these rows (flow.cuts)."},
    {"name": "wall", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": null,
      "doc": "The clock that deadlines were measured against."},
    {"name": "late", "type": {"type": "array", "items": "long"}, "default": [],
      "doc": "Four numbers per stretch of rows that an ensemble went on without a member for (flow.repeating)."}
  ]
}
"""
