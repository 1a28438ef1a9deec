"""Plans of good topologies, against what a reader of the file would work out by hand."""

from __future__ import annotations

import math

import pytest

from stream_infer.codec.internal import JOINED, PREDICTION, REJECT
from stream_infer.codec.schema import parse_schema
from stream_infer.decide.settings import PolicySettings, Where
from stream_infer.errors import TopologyError
from stream_infer.features.settings import Aggregate, FeatureSettings, Input, LookupSettings
from stream_infer.feedback_settings import FeedbackSettings, RewardSettings
from stream_infer.models.settings import BatchSettings, LearnerSettings, ModelSettings
from stream_infer.topology.hop_schema import AT_MS, OWN_FIELDS
from stream_infer.topology.plan import DecideAt, DecideStep, FeatureStep, FeedbackStep, InputPlan, LearnStep, LookupStep, RepartitionStep
from tests.unit.topology.goods import plan_of


def test_the_smallest_topology_gets_every_default() -> None:
    plan = plan_of("minimal")

    (main,) = plan.sections
    assert (main.name, main.partitions, main.flowing, main.state_topic) == ("main", 2, "payments", "score.main.state")
    assert (InputPlan("payments", 0),) == main.inputs
    assert (DecideStep("score", ("flat",), PolicySettings("fixed"), None, (), "scores"),) == main.steps
    assert (plan.emit.guarantee, plan.emit.commit_interval_ms, plan.emit.rejects_topic) == ("exactly_once", 100, "score.rejects")
    assert (plan.rows_in_flight_max, plan.wait_ms_max) == (20_000, 200)
    assert (plan.models_topic, plan.decisions_topic, plan.cuts_topic) == ("", "score.decisions", "score.cuts")
    topics = (
        ("payments", 2, False),
        ("scores", 2, False),
        ("score.main.state", 2, True),
        ("score.decisions", 2, False),
        ("score.cuts", 2, False),
        ("score.rejects", 1, False),
    )
    assert topics == plan.topics


def test_local_features_read_and_update_with_their_own_rows() -> None:
    plan = plan_of("local")

    spend, score = plan.sections[0].steps
    settings = FeatureSettings(
        (
            Aggregate("spend_1h", "sum", "amount", 3_600_000, decimals=2),
            Aggregate("payments_all", "count"),
            Aggregate("last_amounts", "last_k", "amount", k=3),
            Aggregate("quiet_s", "since_last"),
        ),
        idle_ms=86_400_000,
    )
    assert FeatureStep("spend", "payments", "card_id", "card_id", settings) == spend
    assert isinstance(score, DecideStep)
    assert Where("country", "==", "DE") == score.where
    assert plan.streams["scores"].format == "json"
    assert (plan.emit.guarantee, plan.emit.commit_interval_ms, plan.emit.rejects_topic) == ("at_least_once", 50, "refused")
    assert (plan.streams["scores"].schema, plan.streams["refused"].schema) == (PREDICTION, REJECT)
    inputs = (
        Input("amount"),
        Input("spend_1h"),
        Input("last_amounts_1", missing=0),
        Input("last_amounts_1", "is_missing"),
        Input("country", "one_hot", values=("DE", "FR")),
    )
    assert ModelSettings("ridge", "linear", inputs, "models/ridge.safetensors") == plan.models["ridge"]


def test_wide_inputs_and_lean_predictions() -> None:
    plan = plan_of("wide")

    inputs = (
        Input("pixels", "list", size=784),
        Input("points", "numbers", size=3, separator=";"),
        Input("packed", "floats32", size=4),
    )
    assert plan.models["net"].inputs == inputs
    assert plan.models["net"].columns()[783:786] == ("pixels[783]", "points[0]", "points[1]")
    fields = parse_schema(plan.streams["classes"].schema).fields
    assert [(f.name, f.kind, f.item, f.nullable, f.logical, f.symbols, f.size) for f in fields] == [
        ("prediction_id", "string", "", False, None, (), 0),
        ("outputs", "array", "double", False, None, (), 0),
        ("place", "enum", "", True, None, ("INDOORS", "OUTDOORS"), 0),
        ("taken_at_ms", "long", "", False, "timestamp-millis", (), 0),
        ("packed", "fixed", "", False, None, (), 16),
        ("pixels", "array", "float", False, None, (), 0),
        ("seen", "double", "", True, None, (), 0),
    ]


def test_floats_that_are_carried_into_json_may_be_null_there() -> None:
    change = ("rejects: refused,", "rejects: refused, carry: [amount, online],")
    fields = {field.name: field for field in parse_schema(plan_of("local", change).streams["scores"].schema).fields}

    assert (fields["amount"].nullable, fields["online"].nullable) == (True, False)
    assert set(fields) > {field.name for field in parse_schema(PREDICTION).fields}


def test_another_key_takes_rows_through_a_topic_of_ours_into_a_further_section() -> None:
    plan = plan_of("repartition")

    first, second = plan.sections
    assert (first.name, first.partitions, first.flowing) == ("payments", 4, "payments")
    assert RepartitionStep("shop_now", "hops.shop_now.by_shop_id", "shop_id") == first.steps[-1]
    assert (second.name, second.partitions, second.flowing) == ("shop_now.by_shop_id", 3, "hops.shop_now.by_shop_id")
    # Four tasks write each of its partitions: their rows are four channels.
    assert (InputPlan("shops", 0), InputPlan("hops.shop_now.by_shop_id", 1, sources=4)) == second.inputs
    lookup, load, score = second.steps
    assert isinstance(lookup, LookupStep)
    assert (lookup.table, lookup.table_key, lookup.read_by) == ("shops", "shop_id", "shop_id")
    assert math.isnan(lookup.settings.take[0][1])
    assert isinstance(load, FeatureStep)
    assert load.kept_from == "hops.shop_now.by_shop_id"
    assert load.settings.values[0].shape == "tumbling"
    assert isinstance(score, DecideStep)
    assert BatchSettings(512) == plan.models["net"].batch
    assert ("hops.shop_now.by_shop_id", 3, False) in plan.topics
    assert ("hops.shop_now.by_shop_id.state", 3, True) in plan.topics


def test_rows_on_their_way_carry_their_fields_the_features_so_far_and_our_own() -> None:
    stream = plan_of("repartition").streams["hops.shop_now.by_shop_id"]

    schema = parse_schema(stream.schema)
    own = [name for name, _ in OWN_FIELDS]
    fields = ["payment_id", "card_id", "shop_id", "amount", "country", "online", "paid_at_ms", "spend_1h", *own]
    assert fields == [field.name for field in schema.fields]
    assert (schema.field("spend_1h").kind, schema.field("spend_1h").nullable) == ("double", True)
    # They waited for their moment before they went on: now their time is when they went on.
    assert (stream.event_time, stream.key, stream.id, stream.decide_at) == (AT_MS, "shop_id", "payment_id", None)


def test_flights_inputs_stand_state_first_and_versions_last() -> None:
    plan = plan_of("flights")

    main, learn = plan.sections
    expected = (
        InputPlan("departed", 0),
        InputPlan("arrived", 1, is_global=True),  # kept by tail number, hence read whole; its feedback role would not need that
        InputPlan("weather", 2),
        InputPlan("planes", 3, is_global=True),
        InputPlan("scheduled", 4),
        InputPlan("models", 5, is_global=True),
    )
    assert expected == main.inputs
    assert DecideAt("departs_at_ms", 1_800_000) == plan.streams["scheduled"].decide_at
    assert [step.name for step in main.steps] == ["origin_now", "tail_now", "weather_now", "plane", "eta", "outcome"]
    assert (InputPlan("flights.joined", 0, sources=4),) == learn.inputs
    assert (LearnStep("teach", "outcome", "eta", ("online",), 86_400_000),) == learn.steps
    assert ("flights.models", 1, True) in plan.topics
    assert ("flights.joined", 1, False) in plan.topics
    assert (plan.streams["flights.joined"].schema, plan.streams["flights.joined"].event_time) == (JOINED, "closed_at")


def test_flights_decisions_feedback_and_learning_as_written() -> None:
    plan = plan_of("flights")

    eta, outcome = plan.sections[0].steps[-2:]
    policy = PolicySettings("maillard", share_min=0.02, seed=7)
    where = Where("departs_at_ms", ">=", 1_372_636_800_000.0)
    assert DecideStep("eta", ("static", "ridge", "online"), policy, where, ("static",), "predictions") == eta
    feedback = FeedbackSettings("flight_id", "arr_delay_min", 43_200_000, RewardSettings("closeness", scale=60))
    assert FeedbackStep("outcome", "eta", "arrived", feedback, "flights.joined") == outcome
    assert LearnerSettings("sgd", 0.01, 1e-4) == plan.models["online"].learns
    lookup = plan.sections[0].steps[2]
    assert isinstance(lookup, LookupStep)
    assert LookupSettings((("wind_mph", 0.0), ("precip_in", 0.0))) == lookup.settings


def test_rows_of_tests_are_typed_by_their_schemas_and_complete() -> None:
    (test,) = plan_of("flights").tests

    (arrived,) = test.given["arrived"]
    assert arrived == {"flight_id": "A1", "origin": "EWR", "tail_num": "N1", "arr_delay_min": 35.0, "arrived_at_ms": 1_372_672_800_000}
    assert test.expect == {"predictions": [{"prediction_id": "A2", "answer": {"near": 35.0, "within": 10.0}}]}
    (scheduled,) = test.given["scheduled"]
    assert scheduled["distance_mi"] == 1000.0


def test_absent_fields_of_test_rows_are_null_where_they_may() -> None:
    (test,) = plan_of("flights", (", tail_num: N1, arr_delay_min: 35", "")).tests

    assert None is test.given["arrived"][0]["tail_num"]
    assert None is test.given["arrived"][0]["arr_delay_min"]


def test_client_settings_keep_secrets_as_references() -> None:
    client = plan_of("flights").client

    assert client["sasl.password"] == "${env:KAFKA_PASSWORD}"
    assert client["ssl.ca.location"] == "./certs/ca.pem"


def test_global_feedback_makes_its_stream_whole() -> None:
    plan = plan_of(
        "flights",
        ("kept_from: arrived, group_by: tail_num, global: true", "kept_from: planes, group_by: tail_num, global: true"),
        ("{last: arr_delay_min}", "{last: plane_year}"),
        ("on: flight_id,", "on: flight_id, global: true,"),
    )

    assert plan.sections[0].input("arrived").is_global
    assert plan.sections[0].input("arrived").rank > plan.sections[0].input("planes").rank


def test_a_local_feedback_is_read_by_partition() -> None:
    plan = plan_of(
        "flights",
        ("kept_from: arrived, group_by: tail_num, global: true", "kept_from: departed, group_by: origin"),
        ("{last: arr_delay_min}", "{last: dep_delay_min}"),
    )

    assert not plan.sections[0].input("arrived").is_global


def test_feedback_by_prediction_id_is_local_where_decisions_are_keyed_by_it() -> None:
    changes = (
        ("key: origin\n    id: flight_id", "key: flight_id\n    id: flight_id"),
        (
            "{topic: flights-arrived, schema: schemas/arrived.avsc, key: origin",
            "{topic: flights-arrived, schema: schemas/arrived.avsc, key: flight_id",
        ),
        ("kept_from: departed\n    group_by: origin", "kept_from: departed\n    group_by: origin\n    global: true"),
        ("key: origin, take", "key: origin, global: true, take"),
        ("kept_from: arrived, group_by: tail_num", "kept_from: departed, group_by: tail_num, kept_by: origin"),
        ("{last: arr_delay_min}", "{last: dep_delay_min}"),
    )

    assert not plan_of("flights", *changes).sections[0].input("arrived").is_global


def test_a_model_stage_with_a_learner_reads_versions_too() -> None:
    plan = plan_of(
        "flights",
        ("kind: bandit", "kind: model"),
        ("arms: [static, ridge, online]", "model: online"),
        ("shadow: [static]", "shadow: [static, ridge]"),
        ("    policy: {maillard: {}}\n    share_min: 0.02\n    seed: 7\n", ""),
    )

    assert plan.sections[0].inputs[-1].stream == "models"
    step = plan.sections[1].steps[0]
    assert isinstance(step, LearnStep)
    assert step.models == ("online",)


def test_all_problems_come_in_one_error_by_line() -> None:
    with pytest.raises(TopologyError) as caught:
        plan_of("minimal", ("amount", "amont"), ("to: scores", "to: score"), ("partitions: 2}\n  scores", "partitions: two}\n  scores"))

    assert [problem.line for problem in caught.value.problems] == [4, 7, 10]


def test_the_same_file_gives_the_same_plan() -> None:
    assert repr(plan_of("flights")) == repr(plan_of("flights"))
