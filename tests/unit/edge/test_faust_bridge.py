"""The bridge in a Faust app without a broker: agents of the app share passes; functions keep their policy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import faust
import pytest

from stream_infer.edge.faust_bridge import Bridge, Rejected, attach, plan_of
from stream_infer.errors import ModelError, StreamInferError, TopologyError

RULES = Path(__file__).parents[3] / "topologies" / "rules" / "rules.yaml"
ADMIT = ["topologies.rules.order_rules"]


def bridged() -> Bridge:
    return Bridge(plan_of(RULES), admit=ADMIT, measure=False)


def test_agents_of_an_app_ask_models_and_functions() -> None:
    async def run() -> tuple[list[float], dict[str, object], list[int]]:
        app = faust.App("rules-test", store="memory://", web_enabled=False)
        bridge = attach(app, RULES, admit=ADMIT, measure=False)
        assert bridge in app._children
        async with bridge:
            given = await bridge.apply("check", {"country": "DE", "weight_kg": 2})
            rows = [{"road_km": 13.0 * n, "flown_km": 0.0, "weight_kg": 2.0} for n in range(40)]
            answers = await asyncio.gather(*(bridge.predict("minutes", row) for row in rows))
            return [one.answer for one in answers], given, bridge.passes

    answers, given, passes = asyncio.run(run())
    assert answers == pytest.approx([30 + 13.0 * n + 4 for n in range(40)], abs=1e-4)
    assert given == {"zone": "near"}
    assert sum(passes) == 40
    assert len(passes) < 40, "rows that were asked at once shared passes"


def test_what_a_function_rejects_and_what_does_not_exist_is_raised() -> None:
    async def run() -> list[BaseException | object]:
        bridge = bridged()
        async with bridge:
            asked = (
                bridge.apply("check", {"country": "XX", "weight_kg": 2}),
                bridge.apply("chek", {}),
                bridge.apply("check", {"country": "DE"}),
                bridge.predict("hours", {}),
            )
            return list(await asyncio.gather(*asked, return_exceptions=True))

    rejected, unknown, incomplete, model = asyncio.run(run())
    assert isinstance(rejected, Rejected)
    assert str(rejected) == "country: got XX, expected one of: DE, FR, NL, US, JP"
    assert isinstance(unknown, StreamInferError)
    assert "one of check, prepare, promise" in str(unknown)
    assert "no field `weight_kg`" in str(incomplete)
    assert isinstance(model, ModelError)


def test_a_broken_topology_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: x\n")
    with pytest.raises(TopologyError):
        attach(faust.App("broken-test", store="memory://", web_enabled=False), tmp_path / "broken.yaml")
