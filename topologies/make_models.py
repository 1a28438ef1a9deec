"""Makes the models of the small topologies: `python topologies/make_models.py`. Weights that can be checked by hand."""

from __future__ import annotations

import math
from pathlib import Path

from stream_infer.models.linear import LinearModel

HERE = Path(__file__).parent
LN3 = math.log(3.0)  # logistic(LN3) = 0.75
Weights = tuple[tuple[str, ...], list[list[float]], list[float], str]  # columns, weights by column, bias, link
TRIPS: dict[str, Weights] = {
    "steady": (("km",), [[2.0]], [5.0], "identity"),
    "next": (("km",), [[2.1]], [4.0], "identity"),
}
# topology: model: its weights
MODELS: dict[str, dict[str, Weights]] = {
    "pipeline": {
        "strain": (("vibration", "temperature", "load"), [[0.5, 0.0], [0.0, 0.1], [1.0, 0.0]], [-0.5, -2.0], "identity"),
        "wear": (("strain[0]", "strain[1]", "hours"), [[1.0], [0.0], [0.005]], [0.0], "identity"),
        "heat": (("strain[0]", "strain[1]"), [[0.5], [0.5]], [-1.5], "identity"),
        "stop": (("wear", "heat", "vibration"), [[1.0], [0.5], [0.0]], [-4.5], "logistic"),
    },
    "ensemble": {
        "by_amount": (("amount",), [[0.01]], [-1.0], "logistic"),  # 0.5 at 100
        "by_place": (("abroad",), [[2 * LN3]], [-LN3], "logistic"),  # 0.25 at home, 0.75 abroad
        "by_shop": (("shop_frauds",), [[LN3]], [-LN3], "logistic"),  # 0.25 without frauds
        "judge": (("by_amount", "by_place", "by_shop"), [[2.0], [1.0], [1.0]], [-2.0], "logistic"),
    },
    "cascade": {
        "small": (("amount",), [[1.0]], [-2.0], "logistic"),
        "large": (("amount", "pages"), [[1.0], [1.0]], [-2.0], "logistic"),
        "german": (("pages",), [[1.0]], [0.0], "logistic"),
    },
    "canary": TRIPS,
    "shadow": TRIPS,
    "rules": {"minutes": (("road_km", "flown_km", "weight_kg"), [[1.0], [0.1], [2.0]], [30.0], "identity")},
}


def made() -> dict[Path, bytes]:
    """Every file and its bytes, the same every time."""
    return {
        HERE / topology / "models" / f"{name}.safetensors": LinearModel.unscaled(*weights).to_bytes()
        for topology, models in MODELS.items()
        for name, weights in models.items()
    }


def main() -> None:
    """Write them all."""
    for path, content in made().items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
