"""What the pages say is so: commands run and print what is shown, files load, names exist, figures are those of the run on record."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from loadgen.__main__ import _parser as loadgen_parser
from loadgen.synthetic import Payments, PaymentSettings, payments
from stream_infer.cli import _parser, load_plan, main
from stream_infer.codec.internal import PREDICTION
from stream_infer.codec.json_codec import JsonDecoder
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.decide.policy import MICRO, ArmStats, draw, propensities
from stream_infer.edge.workers import load_models
from stream_infer.flow.rows import Intake
from stream_infer.hashing import hash64, uniform
from stream_infer.records import Fetched, Text
from stream_infer.sim.play import make_broker, read, run_to_end
from stream_infer.topology.mermaid import mermaid
from stream_infer.topology.plan import DecideStep

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LIFE = (ROOT / "docs" / "life-of-an-event.md").read_text()
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
PAYMENTS = ROOT / "topologies" / "payments" / "payments.yaml"
FLIGHTS = ROOT / "topologies" / "flights" / "flights.yaml"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def command_lines(text: str) -> Iterator[str]:
    """Everything a reader might type: lines of sh blocks, $ lines of console blocks, commands between backticks."""
    for block in blocks(text, "sh"):
        yield from (line for line in block.splitlines() if line and not line.startswith("#"))
    for block in blocks(text, "console"):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`((?:stream-infer|make|python -m loadgen) [^`]+)`", prose)


# -- commands -------------------------------------------------------------------------------------------------------------------


def parses(parser: argparse.ArgumentParser, words: list[str]) -> bool:
    """A command that is only named (`stream-infer run`) needs no arguments; one with arguments must be whole."""
    try:
        parser.parse_args(words)
    except SystemExit as end:
        return end.code == 0 or (len(words) == 1 and words[0] in _choices(parser))
    return True


def _choices(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions if isinstance(action.choices, dict) for name in action.choices}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shown_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+%?):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in command_lines((ROOT / name).read_text()):
        words = shlex.split(line, comments=True)
        if words[0] == "stream-infer":
            assert parses(_parser(), words[1:]), line
        elif words[:3] == ["python", "-m", "loadgen"]:
            assert parses(loadgen_parser(), words[3:]), line
        elif words[0] == "make":
            wanted = [re.sub(r"^bench-.*", "bench-%", word) for word in words[1:] if "=" not in word]
            assert set(wanted) <= targets, line
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), line
        else:
            assert words[:2] in (["docker", "compose"], ["pip", "install"]), line


@pytest.mark.parametrize("name", NAMES)
def test_commands_print_what_is_shown(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """check, explain, test: a block that ends in … shows the beginning only."""
    monkeypatch.chdir(ROOT)
    for block in blocks((ROOT / name).read_text(), "console"):
        first, _, shown = block.partition("\n")
        words = shlex.split(first.removeprefix("$ "))
        if words[:2] in (["stream-infer", "check"], ["stream-infer", "explain"], ["stream-infer", "test"]):
            assert main(words[1:]) == 0
            printed = capsys.readouterr().out
            assert printed.startswith(shown.removesuffix("…\n")) if shown.endswith("…\n") else printed == shown


# -- YAML, links, modules, tests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_yaml_blocks_are_parts_of_topologies(name: str) -> None:
    """What a tutorial shows stands in a file that is tested, word for word; the rest at least parses."""
    for block in blocks((ROOT / name).read_text(), "yaml"):
        parsed = yaml.safe_load(block)
        if name == "README.md":
            assert block in PAYMENTS.read_text(), block
        if isinstance(parsed, dict) and "format" in parsed:
            raise AssertionError("a whole topology belongs into topologies/, where it is checked and tested")


@pytest.mark.parametrize("topology", [FLIGHTS, PAYMENTS], ids=lambda path: str(path.stem))
def test_example_topologies_are_right_and_can_be_drawn(topology: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(topology)]) == 0
    assert capsys.readouterr().out == f"{topology}: ok\n"
    assert mermaid(load_plan(topology)).startswith("flowchart LR\n")


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        assert found.exists(), target
        if anchor:
            assert f'<a id="{anchor}">' in found.read_text(), target


def modules_of(package: str) -> list[Path]:
    """A folder's modules; the top folder's are told in two places."""
    if package in ("ground", "command line"):
        front = [path for path in (ROOT / "stream_infer").glob("*.py") if path.stem.startswith(("cli", "__main__"))]
        ground = [path for path in (ROOT / "stream_infer").glob("*.py") if path not in front]
        return sorted(front if package == "command line" else ground)
    return sorted((ROOT / package).glob("*.py"))


def row(path: Path) -> str:
    """What the module's docstring says first, without the names before it and the arrows behind it."""
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    what = re.sub(r"^[\w. -]+: ", "", first)
    what = re.sub(r"""(?<=[.?:"`)])\s+[^.]*\*[\w ./-]+\*[^*]*$""", "", what).rstrip(".")
    return f"| [`{path.name}`]({path.relative_to(ROOT)}) | {what} |"


def code_map(text: str) -> str:
    """The page with the table under every marker made anew."""

    def table(marker: re.Match[str]) -> str:
        rows = [row(path) for path in modules_of(marker[1]) if path.name != "__init__.py" or marker[1] == "ground"]
        return "\n".join([f"<!-- modules of {marker[1]} -->", "| module | what it is about |", "| --- | --- |", *rows, ""])

    return re.sub(r"^<!-- modules of ([\w/ ]+) -->\n(?:\|.*\n)*", table, text, flags=re.MULTILINE)


def test_the_code_map_is_fresh() -> None:
    page = ROOT / "ARCHITECTURE.md"
    if os.environ.get("UPDATE"):
        page.write_text(code_map(page.read_text()))

    assert page.read_text() == code_map(page.read_text()), "run again with UPDATE=1"


def test_the_code_map_leaves_no_package_out() -> None:
    told = set(re.findall(r"^<!-- modules of ([\w/ ]+) -->$", ARCHITECTURE, re.MULTILINE))
    places = [path.parent for folder in ("stream_infer", "loadgen") for path in (ROOT / folder).rglob("__init__.py")]
    packages = {str(place.relative_to(ROOT)) for place in places}

    assert told == packages - {"stream_infer"} | {"ground", "command line"}


@pytest.mark.parametrize("name", NAMES)
def test_every_test_that_is_named_exists(name: str) -> None:
    for file, function in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / name).read_text()):
        assert (ROOT / file).is_file(), file
        if function:
            names = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)}
            assert function in names, f"{file}::{function}"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_is_named_exists(name: str) -> None:
    folders = "stream_infer|loadgen|tests|docs|topologies|schemas|benchmarks|deploy"
    for path in re.findall(rf"`((?:{folders})/[\w/.-]*)(?:::\w+)?`", (ROOT / name).read_text()):
        assert (ROOT / path).exists() or list(ROOT.glob(f"topologies/*/{path}")), path  # a schema's path is relative to its topology


def test_every_invariant_names_its_test() -> None:
    for invariant in re.findall(r"^\*\*Architecture invariant:\*\*.*?(?=^$)", ARCHITECTURE, re.MULTILINE | re.DOTALL):
        assert re.search(r"`tests/[\w/]+(\.py::\w+|/)`", invariant), invariant


# -- the life of an event -----------------------------------------------------------------------------------------------------------


def numbered_modules() -> dict[int, set[str]]:
    """Which module says of which step that it happens there."""
    found: dict[int, set[str]] = {}
    for path in sorted((ROOT / "stream_infer").rglob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        for words in re.findall(r"\(steps? ([\d, and-]+?(?: to \d+)?) in the life of an event\)", doc):
            numbers = [int(n) for n in re.findall(r"\d+", words)]
            for step in range(numbers[0], numbers[-1] + 1) if " to " in words else numbers:
                found.setdefault(step, set()).add(str(path.relative_to(ROOT)))
    return found


def test_steps_have_the_numbers_that_stand_in_the_code() -> None:
    told = {}
    for number, text in re.findall(r"^## (\d+)\. [^\n]+\n(.*?)(?=^## |\Z)", LIFE, re.MULTILINE | re.DOTALL):
        line = re.search(r"^In code: (.*)\.$", text, re.MULTILINE)
        assert line is not None, f"step {number} does not say where it happens"
        told[int(number)] = set(re.findall(r"`([^`]+)`", line[1]))

    assert sorted(told) == list(range(1, 13))
    assert told == numbered_modules()


def test_the_bytes_shown_are_the_row_told() -> None:
    (shown,) = blocks(LIFE, "hex")
    raw = bytes.fromhex("".join(re.split(r"\s{2,}(?=\D*[a-z_]+:|[a-z ]+:|flight_)", line)[0] for line in shown.splitlines()))
    stream = load_plan(FLIGHTS).streams["scheduled"]
    zero = np.zeros(1, dtype=np.int64)
    rows = Intake(stream).rows(Fetched(stream.topic, 0, zero, zero, Text.of([b"LGA"]), Text.of([raw], is_bytes=True)))

    row = {name: column.to_list()[0] for name, column in rows.columns.items()}
    assert rows.bad == {}
    assert len(raw) == 78
    assert row["flight_id"] == "20131205-DL-2231-LGA-1630"
    assert [row[name] for name in ("flight_num", "distance_mi", "hour", "weekday", "month", "block_min")] == [2231, 502, 16, 3, 12, 135]
    for name, value in row.items():
        assert name in shown
        assert str(value) in shown


def test_the_draw_is_as_told() -> None:
    table = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", LIFE, re.MULTILINE)
    pulls = np.array([int(row[1].replace(",", "")) for row in table], dtype=np.int64)
    rewards = np.rint(pulls * np.array([float(row[2]) for row in table]) * MICRO).astype(np.int64)
    step = next(s for section in load_plan(FLIGHTS).sections for s in section.steps if isinstance(s, DecideStep))

    shares = propensities(step.policy, ArmStats(pulls, rewards, rewards))
    point = uniform(hash64(Text.of(["20131205-DL-2231-LGA-1630"])), step.policy.seed)

    assert [row[0] for row in table] == list(step.arms)
    assert shares == pytest.approx([float(row[3]) for row in table], abs=2e-3)  # the means above have six digits
    assert np.cumsum([float(row[3]) for row in table]) == pytest.approx([float(row[4]) for row in table], abs=1e-4)
    assert f"it is {point[0]:.4f}, which falls to `{step.arms[draw(shares, point)[0]]}`" in LIFE


def test_records_shown_have_the_fields_of_their_schema() -> None:
    prediction, joined = blocks(LIFE, "json")
    rows, rejected = JsonDecoder(parse_schema(PREDICTION)).decode(Text.of([re.sub(r'"\d{4}-[^"]+Z"', "0", prediction)]))
    told = json.loads(joined)

    assert not rejected.reason
    assert list(json.loads(prediction)) == list(rows)
    assert told["reward"] == pytest.approx(1 - abs(told["answer"] - told["label"]) / 60)
    assert datetime.fromisoformat(told["closed_at"]).astimezone(UTC) > datetime.fromisoformat(told["event_time"])


# -- figures ------------------------------------------------------------------------------------------------------------------------


def test_figures_of_the_demo_are_those_of_the_run_on_record() -> None:
    report = json.loads((ROOT / "docs" / "images" / "report.json").read_text())
    whole, latency = report["error"]["whole"], report["latency_ms"]
    told = [
        f"mean error of {whole['answered']['rows']:,} answers",
        f"**{whole['answered']['mae']:.1f} min**, where the timetable alone gives {whole['baseline']['mae']:.1f}",
        f"**{whole['improvement_percent']:.1f} % smaller**",
        f"(95 % interval {whole['improvement_percent_low']:.1f} to {whole['improvement_percent_high']:.1f})",
        ", ".join(f"{arm} {100 * report['propensities'][arm]['last']:.0f} %" for arm in ("net", "ridge", "online")),
        f"half within {report['feedback']['delay_min_median']:.0f} min; {100 * report['feedback']['never_share']:.1f} % never came",
        f"{report['rows_read']:,}, {report['rows']:,}, {report['rows_rejected']}",
        f"{report['seconds']:.0f} s: {int(report['records_per_second']):,} records a second",
        f"p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms",
        f"`{report['sha256'][:12]}…`",
    ]
    assert [words for words in told if words not in README] == []


@pytest.fixture(scope="module")
def six_hours() -> tuple[Payments, list[dict[str, object]]]:
    """The payments of the tutorial, and their scores."""
    plan, events = load_plan(PAYMENTS), payments(PaymentSettings(rate=5, duration_s=21_600, cards=2000))
    broker = make_broker(plan)
    for name in ("payments", "outcomes"):
        stream, table = plan.streams[name], events.tables[name]
        schema = parse_schema(stream.schema, name)
        columns = {field.name: table.columns[field.name] for field in schema.fields}
        values = RowEncoder(schema, stream.format, stream.framing).encode(columns)
        keys = table.columns["card_id"]
        assert isinstance(keys, Text)
        broker.append(stream.topic, keys.raw(), values.raw(), timestamps=table.event_time)
    run_to_end(plan, broker, load_models(plan, {}))
    return events, read(broker, plan.streams["scores"])


def test_the_payments_model_learns_what_is_true(six_hours: tuple[Payments, list[dict[str, object]]]) -> None:
    events, scores = six_hours
    assert len(scores) == 108_000
    number = np.array([int(str(row["prediction_id"])[1:]) for row in scores])
    answer = np.array([row["answer"] for row in scores], dtype=np.float64)
    time = np.array([row["event_time"] for row in scores], dtype=np.int64)
    truth, fraud = events.truth[number], events.fraud[number]
    hour = (time - time.min()) // 3_600_000

    assert (answer[hour < 2] == 0.5).all()
    for last in (3, 4, 5):
        own, best = (-np.log(np.where(fraud, chance, 1 - chance))[hour == last].mean() for chance in (answer, truth))
        assert own < best + 0.003
        assert 0.3765 <= best <= 0.3835
    assert np.abs(answer - truth)[hour == 5].mean() == pytest.approx(0.009, abs=0.0005)
