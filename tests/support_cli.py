"""What tests of commands share."""

from __future__ import annotations

import safetensors.torch

from tests import admitted
from tests.support_run import LINEAR, Case, event

Said = tuple[int, str, str]  # exit code, stdout, stderr
TESTS = """\
tests:
  - name: twice and one
    given: {{events: [{row}]}}
    expect: {{predictions: [{{prediction_id: e4, answer: {{near: {answer}, within: 0.001}}}}]}}
"""


def use(case: Case, model: str, module: admitted.Twice | None = None) -> None:
    """Another model in the topology; with a module, its weights in the file."""
    case.path.write_text(case.path.read_text().replace(LINEAR, model))
    if module is not None:
        data = safetensors.torch.save(module.state_dict(), metadata={"columns": '["amount"]'})
        (case.folder / "twice.safetensors").write_bytes(data)


def with_tests(case: Case, answer: float) -> None:
    row = str(event(4)).replace("'", "")
    case.path.write_text(case.path.read_text() + TESTS.format(row=row, answer=answer))
