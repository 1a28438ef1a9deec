"""cli: the commands. Each imports what it needs when it runs: `check` and `explain` start without torch and Kafka."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stream_infer.cli_models import add_models
from stream_infer.cli_plan import plan_arguments, say_plan
from stream_infer.cli_replay import explain_arguments, replay_arguments
from stream_infer.errors import EnvironmentMissing, Problem, StreamInferError, TopologyError
from stream_infer.topology.plan import Plan

BROKER_FOLDER = Path(".broker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (78: the topology is wrong; 69: something outside is missing)."""
    wanted = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if wanted.verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    command: Callable[[argparse.Namespace], int] = wanted.command
    try:
        code = command(wanted)
        sys.stdout.flush()  # here, and not when Python ends: whoever reads us may have gone
    except StreamInferError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered must not fail a second time
        return 141
    return code


def load_plan(path: Path) -> Plan:
    """The plan of a topology file; TopologyError with all problems, EnvironmentMissing when there is no such file."""
    from stream_infer.topology.build import load

    return load(_text(path), str(path), _files(path.parent), str(path.parent))


def _text(path: Path) -> str:
    if not path.is_file():
        raise EnvironmentMissing(f"there is no topology file {path}", fix="give the path of a .yaml file; examples are in topologies/")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        got = f"byte 0x{data[error.start]:02x}"
        problem = Problem(str(path), line, column, "the file is no UTF-8 text", got, "text in UTF-8", "save it as UTF-8")
        raise TopologyError([problem]) from error


def _files(base: Path) -> Callable[[str], str | None]:
    def read(name: str) -> str | None:
        path = base / name
        return path.read_text("utf-8", errors="replace") if path.is_file() else None  # what is no UTF-8 is told as what it breaks

    return read


def _check(wanted: argparse.Namespace) -> int:
    worst = 0
    for path in wanted.topology:
        try:
            load_plan(path)
        except StreamInferError as error:
            print(error, file=sys.stderr)
            worst = max(worst, error.exit_code)
        else:
            print(f"{path}: ok")
    return worst


def _explain(wanted: argparse.Namespace) -> int:
    from stream_infer.topology import explain

    if wanted.full:
        from stream_infer.topology.read import read

        load_plan(wanted.topology)  # its problems first
        spec, _ = read(_text(wanted.topology), str(wanted.topology))
        assert spec is not None
        print(explain.full(spec), end="")
        return 0
    plan = load_plan(wanted.topology)
    if wanted.prediction is not None:
        from stream_infer.cli_replay import explain_prediction

        return explain_prediction(wanted, plan, wanted.bootstrap or _dev_bootstrap())
    print(explain.mermaid(plan) if wanted.mermaid else explain.text(plan), end="")
    return 0


def _test(wanted: argparse.Namespace) -> int:
    from stream_infer.cli_test import run_tests

    return run_tests([load_plan(path) for path in wanted.topology], wanted.admit, print)


def _run(wanted: argparse.Namespace) -> int:
    from stream_infer.edge.call_setup import calls_of
    from stream_infer.edge.host import RunSettings, run
    from stream_infer.edge.registry import functions_of, model_classes

    plan = load_plan(wanted.topology)
    settings = RunSettings(
        bootstrap=wanted.bootstrap or _dev_bootstrap(),
        slot=wanted.slot,
        deterministic=wanted.deterministic,
        stages=tuple(wanted.stages.split(",")) if wanted.stages else None,
        state=wanted.state,
        snapshot_every_s=wanted.snapshot_every_s,
        standby_bytes_max=round(wanted.standby_gb * 1e9),
        port=wanted.port,
        session_timeout_ms=round(wanted.session_timeout_s * 1000),
        admitted=tuple(wanted.admit),
    )
    run(plan, settings, model_classes(wanted.admit), calls_of(plan, functions_of(wanted.admit), wanted.admit, strict=wanted.deterministic))
    return 0


def _plan(wanted: argparse.Namespace) -> int:
    return say_plan(wanted, load_plan(wanted.topology))


def _show(wanted: argparse.Namespace) -> int:
    import orjson

    from stream_infer.edge.looking import rows_of

    for row in rows_of(load_plan(wanted.topology), wanted.topic, wanted.bootstrap or _dev_bootstrap()):
        print(orjson.dumps(row, default=list).decode())
    return 0


def _dev_bootstrap() -> str:
    import os

    from stream_infer.edge import devbroker

    if named := os.environ.get("STREAM_INFER_BOOTSTRAP"):
        return named
    found = devbroker.status(BROKER_FOLDER)
    if not found.get("running"):
        raise EnvironmentMissing(
            "no broker is named, and the development broker of this folder does not run",
            expected="--bootstrap HOST:PORT, STREAM_INFER_BOOTSTRAP, or a running development broker",
            fix="start one: stream-infer broker start",
        )
    return str(found["bootstrap"])


def _broker(wanted: argparse.Namespace) -> int:
    from stream_infer.edge import devbroker

    if wanted.action == "start":
        broker = devbroker.start(wanted.folder, stay=True, progress=lambda words: print(words, file=sys.stderr))
        print(broker.bootstrap)
        return 0
    if wanted.action == "stop":
        print("stopped" if devbroker.stop(wanted.folder) else "was not running")
        return 0
    found = devbroker.status(wanted.folder)
    for name, value in found.items():
        print(f"{name + ':':<12}{value}")
    return 0 if found.get("running") else 1


def _trainset(wanted: argparse.Namespace) -> int:
    from stream_infer.edge.call_setup import answerers, lookups
    from stream_infer.edge.registry import functions_of
    from stream_infer.edge.trainset import TrainsetSettings, write_trainset

    settings = TrainsetSettings(wanted.bootstrap or _dev_bootstrap(), wanted.begin, wanted.end)
    plan = load_plan(wanted.topology)
    rows = write_trainset(plan, settings, wanted.out, answerers(plan, functions_of(wanted.admit)) | lookups(plan))
    print(f"{wanted.out}: {rows} rows")
    return 0


def _replay(wanted: argparse.Namespace) -> int:
    from stream_infer.cli_replay import replay

    return replay(wanted, load_plan, wanted.bootstrap or _dev_bootstrap())


def _demo(wanted: argparse.Namespace) -> int:
    from stream_infer.cli_demo import DemoSettings, demo

    return demo(DemoSettings(wanted.topology, wanted.out, wanted.bootstrap, wanted.port, wanted.begin, wanted.end))


def _sim(wanted: argparse.Namespace) -> int:
    from stream_infer.cli_sim import simulate

    return simulate(wanted.seed, wanted.seeds, print)


def _docs(wanted: argparse.Namespace) -> int:
    from stream_infer.topology.jsonschema import json_schema_text
    from stream_infer.topology.reference import reference_text

    for path, text in (
        (wanted.folder / "docs/topology-reference.md", reference_text()),
        (wanted.folder / "schemas/topology.schema.json", json_schema_text()),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path)
    return 0


def _time(text: str) -> int:
    """Milliseconds since 1970 of an ISO date or time; UTC where it names no zone."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date or time such as 2013-07-01 or 2013-07-01T12:00Z") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stream-infer", description="Streaming inference on Kafka, from one topology file.")
    parser.add_argument("--verbose", "-v", action="store_true", help="log what happens")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, does: Callable[[argparse.Namespace], int], help_text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_text, description=help_text)
        made.set_defaults(command=does)
        return made

    check = command("check", _check, "say everything that is wrong with topology files")
    check.add_argument("topology", type=Path, nargs="+")
    explain = command("explain", _explain, "show what a topology becomes: sections, topics, partitions, state")
    explain.add_argument("topology", type=Path)
    explain.add_argument("--mermaid", action="store_true", help="as a Mermaid diagram")
    explain.add_argument("--full", action="store_true", help="the topology itself with every default filled in")
    explain_arguments(explain)
    replay = command("replay", _replay, "work a stretch of the log through another model or topology, and tell what differs (only reads)")
    replay_arguments(replay)
    test = command("test", _test, "run the `tests:` blocks of topology files, without a broker")
    test.add_argument("topology", type=Path, nargs="+")
    run = command("run", _run, "run a topology; start the same command again to share the work")
    run.add_argument("topology", type=Path)
    run.add_argument("--slot", default="0", help="names this process among those of the topology; keep it over restarts (default: 0)")
    run.add_argument("--stages", help="only these stages, and those that share their section (comma-separated)")
    run.add_argument(
        "--deterministic", action="store_true", help="work through the logs as they are, repeatable to the byte, and stop at their end"
    )
    run.add_argument("--state", type=Path, help="folder for snapshots, so that a restart is quick")
    run.add_argument("--snapshot-every-s", type=float, default=60.0, help="how often each partition's state goes there (default: 60)")
    run.add_argument(
        "--standby-gb",
        type=float,
        default=0.0,
        metavar="GB",
        help="memory for warm copies of what other processes own, so that a takeover is quick (default: 0, none)",
    )
    run.add_argument("--port", type=int, help="of the status page on loopback; 0 takes a free one")
    run.add_argument("--session-timeout-s", type=float, default=10.0, help="how soon the group gives up a silent process (default: 10)")
    trainset = command("trainset", _trainset, "write features and labels of a log to a file, by the same code that serves them")
    trainset.add_argument("topology", type=Path)
    trainset.add_argument("--from", dest="begin", type=_time, default=None, metavar="TIME", help="first event time")
    trainset.add_argument("--to", dest="end", type=_time, default=None, metavar="TIME", help="event time before which to stop")
    trainset.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    show = command("show", _show, "print the rows of a topology's streams, or what it wrote for itself, as JSON lines")
    show.add_argument("topology", type=Path)
    show.add_argument("topic", help="a stream; decisions, joined; or a topic between two sections, as `explain` shows it")
    for with_bootstrap in (run, trainset, show, explain, replay):
        with_bootstrap.add_argument("--bootstrap", metavar="HOST:PORT", help="the broker; without it the development broker of this folder")
    plan = command("plan", _plan, "say how many workers a rate needs, and how late the answers will be, measured on this machine")
    plan_arguments(plan)
    for with_code in (run, test, plan, explain, replay, trainset):
        with_code.add_argument(
            "--admit", action="append", default=[], metavar="MODULE", help="a module whose models and functions a topology may name"
        )
    broker = command("broker", _broker, "a real Kafka for development, in this folder")
    broker.add_argument("action", choices=("start", "stop", "status"))
    broker.add_argument("--folder", type=Path, default=BROKER_FOLDER, help="where it keeps its data (default: .broker)")
    demo = command("demo", _demo, "a year of real flights: broker, training, predictions, feedback, report")
    demo.add_argument("--topology", type=Path, default=None)
    demo.add_argument("--out", type=Path, default=Path("demo-report"), help="folder of the report (default: demo-report)")
    demo.add_argument("--port", type=int, default=0, help="of the status page on loopback (default: any free one)")
    demo.add_argument("--bootstrap", default=None, metavar="HOST:PORT", help="an existing broker instead of an own one")
    demo.add_argument(
        "--from", dest="begin", type=_time, default=None, metavar="TIME", help="first event time to send (default: the whole year)"
    )
    demo.add_argument("--to", dest="end", type=_time, default=None, metavar="TIME", help="event time before which to stop")
    add_models(commands, load_plan, _dev_bootstrap)
    sim = command("sim", _sim, "run topologies on the simulated broker with crashes, rebalances and late records")
    sim.add_argument("--seed", type=int, default=0)
    sim.add_argument("--seeds", type=int, default=1, help="how many seeds, counted from --seed")
    docs = command("docs", _docs, "write the generated reference page and JSON Schema of topology files")
    docs.add_argument("--folder", type=Path, default=Path())
    return parser


if __name__ == "__main__":
    sys.exit(main())
