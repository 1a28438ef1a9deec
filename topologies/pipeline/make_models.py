"""Makes the models of the pipeline: `python topologies/pipeline/make_models.py`. Weights that can be checked by hand."""

from __future__ import annotations

from pathlib import Path

from stream_infer.models.linear import LinearModel

FOLDER = Path(__file__).parent / "models"
# name: (columns, weights by column, bias, link)
MODELS: dict[str, tuple[tuple[str, ...], list[list[float]], list[float], str]] = {
    "strain": (("vibration", "temperature", "load"), [[0.5, 0.0], [0.0, 0.1], [1.0, 0.0]], [-0.5, -2.0], "identity"),
    "wear": (("strain[0]", "strain[1]", "hours"), [[1.0], [0.0], [0.005]], [0.0], "identity"),
    "heat": (("strain[0]", "strain[1]"), [[0.5], [0.5]], [-1.5], "identity"),
    "stop": (("wear", "heat", "vibration"), [[1.0], [0.5], [0.0]], [-4.5], "logistic"),
}


def main() -> None:
    """Write them all; the same bytes every time."""
    FOLDER.mkdir(exist_ok=True)
    for name, settings in MODELS.items():
        (FOLDER / f"{name}.safetensors").write_bytes(LinearModel.unscaled(*settings).to_bytes())


if __name__ == "__main__":
    main()
