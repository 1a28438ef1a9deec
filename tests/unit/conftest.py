"""What tests of commands are given: a topology without a broker, and the command line itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stream_infer.cli import main
from tests.support_cli import Said
from tests.support_run import Case, score_case


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return score_case("127.0.0.1:1", tmp_path, "cli", topics=False)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """(exit code, stdout, stderr) of a command."""

    def called(*arguments: object) -> Said:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        return (code, *capsys.readouterr())

    return called
