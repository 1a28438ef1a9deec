"""Makes the models of the cascade: `python topologies/cascade/make_models.py`. Weights that can be checked by hand."""

from __future__ import annotations

from pathlib import Path

from stream_infer.models.linear import LinearModel

FOLDER = Path(__file__).parent / "models"
# name: (columns, weights by column, bias, link)
MODELS: dict[str, tuple[tuple[str, ...], list[list[float]], list[float], str]] = {
    "small": (("amount",), [[1.0]], [-2.0], "logistic"),
    "large": (("amount", "pages"), [[1.0], [1.0]], [-2.0], "logistic"),
    "german": (("pages",), [[1.0]], [0.0], "logistic"),
}


def main() -> None:
    """Write them all; the same bytes every time."""
    FOLDER.mkdir(exist_ok=True)
    for name, settings in MODELS.items():
        (FOLDER / f"{name}.safetensors").write_bytes(LinearModel.unscaled(*settings).to_bytes())


if __name__ == "__main__":
    main()
