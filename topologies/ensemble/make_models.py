"""Makes the models of the ensemble: `python topologies/ensemble/make_models.py`. Weights that can be checked by hand."""

from __future__ import annotations

import math
from pathlib import Path

from stream_infer.models.linear import LinearModel

FOLDER = Path(__file__).parent / "models"
LN3 = math.log(3.0)  # logistic(LN3) = 0.75
# name: (columns, weights by column, bias, link)
MODELS: dict[str, tuple[tuple[str, ...], list[list[float]], list[float], str]] = {
    "by_amount": (("amount",), [[0.01]], [-1.0], "logistic"),  # 0.5 at 100
    "by_place": (("abroad",), [[2 * LN3]], [-LN3], "logistic"),  # 0.25 at home, 0.75 abroad
    "by_shop": (("shop_frauds",), [[LN3]], [-LN3], "logistic"),  # 0.25 without frauds
    "judge": (("by_amount", "by_place", "by_shop"), [[2.0], [1.0], [1.0]], [-2.0], "logistic"),
}


def main() -> None:
    """Write them all; the same bytes every time."""
    FOLDER.mkdir(exist_ok=True)
    for name, settings in MODELS.items():
        (FOLDER / f"{name}.safetensors").write_bytes(LinearModel.unscaled(*settings).to_bytes())


if __name__ == "__main__":
    main()
