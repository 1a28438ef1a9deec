"""Bad input on a real broker: each with the sentence that a user meets, and nothing lost beside it.

The records of one log are all bad in another way, between good ones; one run works through them, every test looks at one.
"""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from stream_infer.cli import main
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.topics import delete_topics
from stream_infer.errors import EnvironmentMissing
from tests import admitted
from tests.support import Row, admin, create_topics, read_all, wait_until
from tests.support_run import (
    BEGIN_MS,
    EVENT,
    FEEDBACK,
    OUTCOMES,
    Case,
    address,
    answers,
    event,
    event_row,
    framed,
    outcome_row,
    running,
    score_case,
)

pytestmark = pytest.mark.broker
RECORD_BYTES_MAX = 2_000
FUTURE_AFTER_MS = 60_000
MOODY = "{kind: torch, class: moody, artifact: moody.safetensors, inputs: [amount], batch: {rows_max: 64}}"


def name_of(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


# ---------------------------------------------------------------------------------------------------------------- records

SOUND = framed(EVENT, event(1))
NULL_TIME = framed(EVENT, {**event(1), "at_ms": None})
FUTURE_MS = BEGIN_MS + FUTURE_AFTER_MS + 1

# What is bad: the record, and the reason that the reject gives. {…}: of this record.
BAD: dict[str, tuple[Row, str]] = {
    "undecodable": (Row(SOUND[:5] + b"\xff" * 12, b"k"), "field event_id: number of more than 10 bytes"),
    "another-magic-byte": (Row(b"{" + SOUND[1:], b"k"), "first byte is 0x7b, expected 0x00 of Confluent's prefix"),
    "too-short": (Row(b"\x00\x01", b"k"), "2 bytes, too short for the 5 bytes of Confluent's prefix"),
    "truncated": (Row(SOUND[:-3], b"k"), "field amount: the record ends inside it"),
    "trailing": (Row(SOUND + b"!", b"k"), "1 byte left over after the last field"),
    "no-utf8": (Row(SOUND.replace(b"ann", b"a\xffn"), b"k"), "field user: text is not UTF-8"),
    "oversized": (Row(framed(EVENT, {**event(1), "user": "u" * RECORD_BYTES_MAX}), b"k"), "bytes, the limit is 2000"),
    "larger-than-the-broker-takes-back": (Row(framed(EVENT, {**event(1), "user": "u" * 1_100_000}), b"k"), "bytes, the limit is 2000"),
    "empty": (Row(b"", b"k"), "the value is empty"),
    "null": (Row(None, b"k"), "value: got null, expected a row (only compacted streams have tombstones)"),
    "null-event-time": (Row(NULL_TIME, b"k"), "event time `at_ms`: got null, expected a time in ms"),
    "future": (
        Row(framed(EVENT, event(1, at_ms=FUTURE_MS)), b"k"),
        f"event time `at_ms`: {FUTURE_MS} lies {FUTURE_AFTER_MS + 1} ms after the record's timestamp",
    ),
    "time-of-no-calendar": (
        Row(framed(EVENT, event(1, at_ms=2**62)), b"k"),
        f"event time `at_ms`: got {2**62}, expected ms since 1970, at most 10^15",
    ),
    "unknown-schema": (Row(b"\x00\x00\x00\x30\x39" + SOUND[5:], b"k"), "schema id 12345 is not known"),
    "no-key-no-value": (Row(None, None), "value: got null"),
}


@dataclass(frozen=True)
class Worked:
    """A log that was worked through. bad: what was sent, by offset of its partition 0; good: ids of the events between."""

    case: Case
    bad: dict[int, str]
    good: list[str]
    predictions: list[dict[str, Any]]
    rejects: list[dict[str, Any]]

    def reject(self, what: str) -> dict[str, Any]:
        """The one reject of a bad record."""
        offset = next(offset for offset, name in self.bad.items() if name == what)
        found = [r for r in self.rejects if r["source_offset"] == offset]
        assert len(found) == 1
        return found[0]


def worked(case: Case, rows: list[tuple[str, Row]], *, admit: tuple[str, ...] = (), **config: Any) -> Worked:
    case.send("events", [row for _, row in rows], **config)
    arguments = [x for module in admit for x in ("--admit", module)]
    assert main(["run", str(case.path), "--bootstrap", case.bootstrap, "--deterministic", *arguments]) == 0
    bad = {offset: what for offset, (what, _) in enumerate(rows) if what in BAD}
    return Worked(case, bad, [what for what, _ in rows if what not in BAD], case.predictions(), case.rejects())


@pytest.fixture(scope="module")
def records(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Worked:
    """Every bad record once, a good event before and after each."""
    more = f", future_after_ms: {FUTURE_AFTER_MS}, record_bytes_max: {RECORD_BYTES_MAX}"
    case = score_case(broker.bootstrap, tmp_path_factory.mktemp("bad"), name_of("bad"), events=more, topics=False)
    create_topics(broker.bootstrap, {case.topic("events"): 1}, {"max.message.bytes": "3000000"})
    rows: list[tuple[str, Row]] = []
    for number, (what, (row, _)) in enumerate(BAD.items()):
        rows.append((f"e{number}", event_row(event(number))))
        rows.append((what, Row(row.value, row.key, timestamp_ms=BEGIN_MS)))
    rows.append(("e999", event_row(event(999))))
    return worked(case, rows, **{"message.max.bytes": 3_000_000})


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_is_rejected_with_its_address_a_reason_and_its_bytes(records: Worked, what: str) -> None:
    row, reason = BAD[what]
    found = records.reject(what)
    assert found["source_topic"] == records.case.topic("events")
    assert found["source_partition"] == 0
    assert reason in found["reason"]
    assert "\n" not in found["reason"]
    assert found["key"] == row.key
    if len(row.value or b"") < 1_000_000:
        assert found["value"] == row.value
    else:
        assert found["value"] == row.value[: len(found["value"])]
        assert f"the first {len(found['value'])} bytes" in found["reason"]


def test_every_good_record_is_answered_once_and_every_bad_one_rejected_once(records: Worked) -> None:
    assert answers(records.predictions) == {what: 2.0 * int(what[1:]) + 1.0 for what in records.good}
    assert sorted(r["source_offset"] for r in records.rejects) == sorted(records.bad)


def test_an_id_too_long_to_write_again_is_rejected(broker: Broker, topic: str, tmp_path: Path) -> None:
    """Predictions, decisions and state all repeat it: a record of 1 MB that is nothing but its id could not be answered."""
    case = score_case(broker.bootstrap, tmp_path, topic)
    long = {**event(1), "event_id": "x" * 990_000}
    case.send("events", [event_row(event(0)), event_row(long), event_row(event(2))], **{"message.max.bytes": 2_000_000})
    case.run()
    assert answers(case.predictions()) == {"e0": 1.0, "e2": 5.0}
    assert [(address(r), r["reason"]) for r in case.rejects()] == [
        (
            (case.topic("events"), 0, 1),
            "`event_id`: 990000 bytes, an id or a key has at most 65536 (of its value, the first 700000 bytes are kept)",
        )
    ]


# ----------------------------------------------------------------------------------------------------------------- models


def test_a_moody_model_spoils_its_own_rows_only(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic, model=MOODY)
    (tmp_path / "moody.safetensors").write_bytes(saved(admitted.Moody()))
    amounts = [float(number) for number in range(200)]
    amounts[20], amounts[90], amounts[91] = admitted.RAISES, admitted.RAISES, admitted.RAISES
    case.send("events", [event_row(event(number, amount)) for number, amount in enumerate(amounts)])
    assert main(["run", str(case.path), "--bootstrap", broker.bootstrap, "--deterministic", "--admit", "tests.admitted"]) == 0
    reasons = {
        admitted.GIVES_NAN: "model twice gave nan in output 0",
        admitted.RAISES: "model twice: ValueError: 666 is not a number that I like",
        admitted.ANSWERS_ONCE_TOO_OFTEN: "model twice: ModelError: moody.safetensors: the output's shape does not follow the batch",
    }
    bad = {number: reasons[amount] for number, amount in enumerate(amounts) if amount in reasons}
    assert len(bad) == 5
    assert {r["source_offset"]: (r["stage"], r["reason"], r["key"]) for r in case.rejects()} == {
        number: ("score", reason, f"e{number}".encode()) for number, reason in bad.items()
    }
    assert len(case.rejects()) == len(bad)
    assert answers(case.predictions()) == {f"e{n}": 2 * amount + 1 for n, amount in enumerate(amounts) if n not in bad}


def saved(module: torch.nn.Module, columns: str = '["amount"]') -> bytes:
    return safetensors.torch.save(module.state_dict(), metadata={"columns": columns})


# --------------------------------------------------------------------------------------------------------------- feedback


def test_feedback_that_counts_for_nothing_is_rejected_or_counted(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic, more_streams=OUTCOMES, feedback=FEEDBACK)
    create_topics(broker.bootstrap, {case.topic("outcomes"): 1})
    case.send("events", [event_row(event(number)) for number in (0, 1, 2, 60)])
    at = BEGIN_MS
    rows = {
        "in time": outcome_row("e1", at + 5_000, 3.0, outcome_id="a"),
        "again": outcome_row("e1", at + 6_000, 99.0, outcome_id="a"),
        "second": outcome_row("e1", at + 6_500, 99.0, outcome_id="b"),
        "unknown": outcome_row("e7", at + 7_000, 1.0, outcome_id="c"),
        "no label": outcome_row("e2", at + 8_000, None, outcome_id="d"),
        "late": outcome_row("e2", at + 12_001, 1.0, outcome_id="e"),
        "late again": outcome_row("e1", at + 12_100, 3.0, outcome_id="a"),
        "end": outcome_row("e60", at + 61_000, 121.0, outcome_id="f"),
    }
    case.send("outcomes", rows.values())
    host = case.run()
    places = list(rows)
    assert {places[r["source_offset"]]: r["reason"] for r in case.rejects()} == {
        "unknown": "unknown: no prediction has this id, or only one more than 0 ms later",
        "no label": "incomplete: without a label or a prediction id",
        "late": "late: more than 10000 ms after its prediction",
    }
    assert len(case.rejects()) == 3
    assert {(address(r)[:2], r["stage"]) for r in case.rejects()} == {((case.topic("outcomes"), 0), "outcome")}
    assert host.worker.stats.feedback["outcome.feedback_repeated"] == 2
    joined = {row["prediction_id"]: row["label"] for row in case.blocks("joined")}
    assert joined == {"e0": None, "e1": 3.0, "e2": None, "e60": 121.0}
    assert answers(case.predictions()) == {"e0": 1.0, "e1": 3.0, "e2": 5.0, "e60": 121.0}


# ----------------------------------------------------------------------------------------------- the world around a worker


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and words of a run that cannot be."""
    code = main(["run", *arguments])
    return code, capsys.readouterr().err


def test_an_unknown_topic_is_named_and_not_made(broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made by us, a misspelt name would be an empty topic that nobody ever writes."""
    case = score_case(broker.bootstrap, tmp_path, topic, topics=False)
    code, words = refused([str(case.path), "--bootstrap", broker.bootstrap], capsys)
    assert code == 69
    assert f"topic {case.topic('events')} is not there" in words
    assert f"expected: a topic on {broker.bootstrap}" in words
    assert "fix:      create it first; what a topology writes is made by `stream-infer run`" in words
    assert case.topic("events") not in admin(broker.bootstrap).list_topics(timeout=10).topics


@pytest.mark.parametrize("stream", ["events", "predictions"])
def test_another_number_of_partitions_is_refused(
    broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic, partitions=2, topics=stream != "events")
    create_topics(broker.bootstrap, {case.topic(stream): 3})
    code, words = refused([str(case.path), "--bootstrap", broker.bootstrap], capsys)
    assert code == 69
    assert f"topic {case.topic(stream)} has another number of partitions" in words
    assert "got:      3" in words
    assert "expected: 2" in words
    assert "partitions: 3" in words[words.index("fix:") :]


def test_a_port_in_use_is_named(broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic)
    case.send("events", [event_row(event(1))])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, words = refused([str(case.path), "--bootstrap", broker.bootstrap, "--deterministic", "--port", str(port)], capsys)
    assert code == 69
    assert "the status page cannot listen" in words
    assert f"got:      127.0.0.1:{port}: Address already in use" in words
    assert "fix:      stop what listens there, or choose another port; 0 takes any free one" in words
    case.run(port=port)
    assert answers(case.predictions()) == {"e1": 3.0}


def test_offsets_without_state_are_refused_and_nothing_is_answered_from_nothing(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic)
    case.send("events", [event_row(event(1))])
    state = case.run().plan.sections[0].state_topic
    case.send("events", [event_row(event(2))])
    delete_topics(broker.bootstrap, [state], {})
    with pytest.raises(EnvironmentMissing) as found:
        case.run()
    words = str(found.value)
    assert f"the state topic {state} is empty, the group's offsets are not" in words
    assert f"got:      {case.topic('events')}[0]@1" in words
    assert "expected: state and offsets of the same commits" in words
    assert "fix:      bring the topic back, or start afresh: delete the group's offsets and all topics named after the topology" in words
    assert answers(case.predictions()) == {"e1": 3.0}


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_topic_made_anew_is_not_taken_for_the_old_one(broker: Broker, topic: str, tmp_path: Path, deterministic: bool) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic)
    case.send("events", [event_row(event(number)) for number in range(5)])
    case.run()
    delete_topics(broker.bootstrap, [case.topic("events")], {})
    create_topics(broker.bootstrap, {case.topic("events"): 1})
    case.send("events", [event_row(event(7))])
    with pytest.raises(EnvironmentMissing) as found:
        case.run(deterministic=deterministic)
    assert f"{case.topic('events')}[0]@5: the broker does not hold this offset" in str(found.value)
    assert "the topic made anew?" in str(found.value)


@pytest.mark.slow
@pytest.mark.parametrize(("stream", "says"), [("events", "is not there"), ("predictions", "no such topic or partition")])
def test_a_topic_that_is_deleted_meanwhile_is_named(broker: Broker, topic: str, tmp_path: Path, stream: str, says: str) -> None:
    """After a minute: so long the client waits for it to come back. An input that is gone is taken from the group without a word."""
    case = score_case(broker.bootstrap, tmp_path, topic)
    with running(case) as process:
        case.send("events", [event_row(event(0))])
        wait_until(lambda: len(case.predictions()) == 1, "answered")
        delete_topics(broker.bootstrap, [case.topic(stream)], {})
        if stream == "predictions":
            case.send("events", [event_row(event(1))])
        wait_until(lambda: process.poll() is not None, "the process ends", timeout_s=90)
        assert process.returncode == 69
        said = process.stderr_text()
        assert any(case.topic(stream) in line and says in line for line in said.splitlines()), said


def test_of_two_processes_with_one_slot_the_older_ends_and_says_why(broker: Broker, topic: str, tmp_path: Path) -> None:
    case = score_case(broker.bootstrap, tmp_path, topic)
    with running(case) as older:
        case.send("events", [event_row(event(0))])
        wait_until(lambda: len(case.predictions()) == 1, "the older one answers")
        with running(case) as newer:
            case.send("events", [event_row(event(1))])
            wait_until(lambda: older.poll() is not None, "the older one ends")
            assert older.returncode == 75
            words = older.stderr_text()
            assert f"another process works under the transactional id {case.name}.0" in words
            assert "fix:      give each worker slot its own number" in words
            sent = len(read_all(broker.bootstrap, case.topic("events")))
            wait_until(lambda: len(case.predictions()) == sent, "the newer one answers the rest")
            assert len({address(p) for p in case.predictions()}) == sent
            assert newer.poll() is None
