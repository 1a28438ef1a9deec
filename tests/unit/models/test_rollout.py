"""Changes of what answers. Oracle: a slow reading of the whole log, one list of who was to answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.errors import ModelError
from stream_infer.models.linear import LinearModel
from stream_infer.models.manifest import WITHIN, Manifest, check_golden, golden_inputs, write_golden
from stream_infer.models.rollout import IN_EFFECT, PIN, PROMOTE, PUBLISH, ROLLBACK, UNPIN, Book, Change, Standing, Told, read_record


def manifest(version: int, **more: object) -> Manifest:
    return Manifest("m", version, f"m{version}.safetensors", f"{version:064x}", "linear", **more)  # type: ignore[arg-type]


def change(number: int, what: str = PROMOTE, version: int = 0, writer: str = "w") -> Change:
    return Change("m", number, what, version, "ann", "because", 7, writer, manifest(version) if version else None)


def test_a_record_says_what_it_was_given() -> None:
    whole = manifest(3, trained_on={"t[0]": (1, 9)}, metrics={"auc": 0.5}, made_from={"embed": 2}, parent=2, golden="ab")
    said = Change("m", 1, PUBLISH, 3, "ann", "better", 7, "w", whole, b"\x00golden", (("a", 0.25), ("b", 0.75)))
    told = Told("m", IN_EFFECT, 1, 3, "main", "events", 2, 18_231, "why", (("a", 1.0),))
    assert read_record(said.to_bytes()) == said
    assert read_record(told.to_bytes()) == told
    assert read_record(b'{"format": 2}') is None, "of a later program"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"nonsense", b'{"format": 1}', b'{"format": 1, "what": "promote"}', b'{"format":1,"what":"in effect"}']
)
def test_what_is_no_record_is_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(ModelError, match="no change"):
        read_record(data)


# -- who answers -------------------------------------------------------------------------------------------------------------


def slow(changes: Sequence[Change], fails: frozenset[int]) -> tuple[int, int]:
    """(who answers, last number) if installing takes no time: the last one that was to answer and could be installed."""
    number, answers = 0, 0
    for one in changes:
        if one.number != number + 1:
            continue
        number += 1
        if one.what in (PROMOTE, ROLLBACK, PIN) and one.version not in fails:
            answers = one.version
    return answers, number


numbers = st.integers(0, 4)
words = st.sampled_from([PROMOTE, ROLLBACK, PUBLISH, PIN, UNPIN])


@given(st.lists(st.tuples(words, numbers, st.integers(-1, 1)), max_size=12), st.frozensets(st.integers(1, 4)), st.integers(1, 3))
def test_of_changes_written_at_once_the_first_holds_and_the_last_that_can_be_installed_answers(
    wanted: list[tuple[str, int, int]], fails: frozenset[int], kept: int
) -> None:
    standing, log, number = Standing(), [], 0
    for what, version, slip in wanted:
        one = change(number + 1 + slip, what, version)
        log.append(one)
        number += slip == 0
        if standing.holds(one):
            standing = standing.after(one, kept=kept)
            if standing.pending is not None:
                failed = standing.pending in fails
                standing = standing.failed(standing.pending) if failed else standing.installed(standing.pending, kept=kept)
        standing = Standing.from_bytes(standing.to_bytes())  # a restart between any two
        assert len(standing.used()) <= kept + 1
        assert set(standing.known) <= standing.used()
        assert standing.current == 0 or standing.current in standing.known
    assert (standing.current, standing.number) == slow(log, fails)
    book = Book.of([one.to_bytes() for one in log])
    assert book.number("m") == standing.number
    assert len(book.refused) + standing.number == len(log)
    assert book.wanted("m")[0] == slow(log, frozenset())[0]


def test_a_version_that_is_not_there_after_a_restart_gives_way_to_the_one_before() -> None:
    standing = Standing()
    for number, version in ((1, 1), (2, 2)):
        standing = standing.after(change(number, PROMOTE, version), kept=2).installed(version, kept=2)
    assert (standing.current, standing.before) == (2, (0, 1))
    standing = standing.failed(2)
    assert (standing.current, standing.before) == (1, (0,))
    assert standing.failed(1).current == 0


def test_rollbacks_go_back_one_after_the_other() -> None:
    steps = [(PROMOTE, 1), (PROMOTE, 2), (PROMOTE, 3), (ROLLBACK, 2), (ROLLBACK, 1)]
    book = Book.of([change(number, what, version).to_bytes() for number, (what, version) in enumerate(steps, 1)])
    assert book.before("m") == 0
    assert Book.of([]).before("m") is None


# -- golden answers ----------------------------------------------------------------------------------------------------------


def model(slope: float = 2.0, columns: int = 3) -> LinearModel:
    return LinearModel(np.full((columns, 1), slope), np.ones(1), np.zeros(columns), np.ones(columns), "identity")


def golden(of: LinearModel) -> tuple[bytes, str]:
    inputs = golden_inputs(len(of.columns))
    data = write_golden(inputs, of.forward(inputs))
    return data, hashlib.sha256(data).hexdigest()


def test_golden_questions_tell_models_apart() -> None:
    data, digest = golden(model())
    check_golden(model(), data, digest, "m v1")
    check_golden(model(2.0 + WITHIN / 10), data, digest, "m v1")  # rounding of another machine
    with pytest.raises(ModelError, match=r"golden question . is answered otherwise"):
        check_golden(model(2.01), data, digest, "m v1")
    with pytest.raises(ModelError, match="another width"):
        check_golden(model(columns=4), data, digest, "m v1")
    with pytest.raises(ModelError, match="not those of the manifest"):
        check_golden(model(), data, "0" * 64, "m v1")
    check_golden(model(), b"", "", "m v1")  # none on record


def test_golden_questions_are_spread_and_bounded() -> None:
    assert golden_inputs(3).shape == (8, 3)
    assert np.unique(golden_inputs(5)).size == 40
    assert abs(float(golden_inputs(100).mean())) < 0.05
    assert len(write_golden(golden_inputs(20_000), np.zeros((len(golden_inputs(20_000)), 1)))) < 500_000
    assert len(golden_inputs(1_000_000)) == 0
