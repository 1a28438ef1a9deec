"""Versions in use, and those that wait behind a pin. Oracle: a dict and a list, step by step, with a restart after each step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_infer.flow.versions import VersionTable
from stream_infer.models.version import ModelVersion
from stream_infer.state import Store, pack_text

steps = st.lists(st.tuples(st.sampled_from(["apply", "pin", "unpin"]), st.sampled_from(["a", "b"]), st.integers(1, 9)), max_size=12)


def version(name: str, number: int) -> ModelVersion:
    return ModelVersion.of(name, number, number, number, bytes([number]))


@given(steps)
def test_a_pin_holds_whatever_comes_and_ends_with_the_newest(taken: list[tuple[str, str, int]]) -> None:
    table: VersionTable = VersionTable({})
    log: dict[bytes, bytes | None] = {}
    used: dict[str, int] = {}
    waiting: dict[str, int | None] = {}  # behind a pin
    for what, name, number in taken:
        if what == "apply":
            applied = table.apply(version(name, number).to_bytes())
            assert (applied is None) == (name in waiting)
            (waiting if name in waiting else used)[name] = number
        elif what == "pin":
            table.pin(version(name, number).to_bytes())
            waiting.setdefault(name, used.get(name))
            used[name] = number
        else:
            newest = waiting.pop(name, None)
            found = table.unpin(name)
            assert (found.version if found else None) == (newest if newest != used.get(name) else None)
            used |= {name: newest} if newest is not None else {}
        assert {v.name: v.version for v in table.installed()} == used
        keys, values = table.changes()
        log |= {key or b"": value for key, value in zip(keys.raw(), values.raw(), strict=True)}
        restored, loaded = VersionTable({}), VersionTable({})
        store: Store = restored
        store.restore(pack_text(list(log)), pack_text(list(log.values())))
        loaded.load(table.snapshot())
        for other in (restored, loaded):
            assert {v.name: v.version for v in other.installed()} == used
            assert {name: other.unpin(name) for name in sorted(waiting)} == {
                name: version(name, number) if number not in (None, used[name]) else None for name, number in sorted(waiting.items())
            }
        table = VersionTable({})
        table.restore(pack_text(list(log)), pack_text(list(log.values())))
