"""What cannot be changed is refused before anybody is asked. Oracle: the message, and that no broker is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_infer.cli import main

ROOT = Path(__file__).parents[2]
NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("topology", "words", "said"),
    [
        ("flights", ["pin", "online"], ("model online learns, and nobody follows changes of it", "add `versions_kept: 1`")),
        ("flights", ["promote", "online"], ("model online learns: it makes its versions itself", "`models pin` holds it")),
        ("flights", ["pin", "ridge"], ("model ridge: no version of it can be published", "add `versions_kept: 1`")),
        ("flights", ["pin", "eta"], ("model eta: no version of it can be published",)),
        ("ensemble", ["pin", "ballot"], ("model ballot is made of others, and has no version of its own", "name one of those: ")),
    ],
)
def test_a_model_that_cannot_be_pinned_says_why(
    topology: str, words: list[str], said: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    word, name = words
    code = main(["models", word, str(ROOT / "topologies" / topology / f"{topology}.yaml"), name, "--bootstrap", NOWHERE])
    assert code != 0
    told = capsys.readouterr().err
    for part in said:
        assert part in told
