"""cli_check_model: `stream-infer models check FILE`: is this file fit to serve? *cli_check_model* → testing."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_check(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those about models."""
    words = "ask a model file in every way that a run does, say what is wrong, and measure what its passes cost"
    made = group.add_parser("check", help=words, description=words)
    made.add_argument("file", type=Path)
    made.add_argument("--inputs", default="", metavar="A,B,…", help="names of its columns, where the file has none")
    made.add_argument("--kind", help="of the model (default: by the file's ending)")
    made.add_argument("--class", dest="model_class", default="mlp", metavar="NAME", help="of a torch model's weights")
    made.add_argument("--output", help="as in a topology")
    made.add_argument("--trusted", action="store_true", help="the file may run code: you trust who wrote it")
    made.add_argument("--admit", action="append", default=[], metavar="MODULE", help="as for `run`")
    made.set_defaults(command=_check)


def _check(wanted: argparse.Namespace) -> int:
    from stream_infer.edge.registry import model_classes
    from stream_infer.testing import check_model

    report = check_model(
        wanted.file,
        inputs=[name for name in wanted.inputs.split(",") if name],
        kind=wanted.kind,
        model_class=wanted.model_class,
        registry=model_classes(wanted.admit),
        trusted=wanted.trusted,
        output=wanted.output,
    )
    print(report)
    return 0 if report.ok else 1
