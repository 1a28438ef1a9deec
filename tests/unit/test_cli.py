"""The command line: exit codes and words, on good and on bad input. Nothing here needs a broker."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stream_infer import cli
from stream_infer.cli import load_plan
from stream_infer.models.linear import LinearModel
from tests import admitted
from tests.support_cli import Said, use, with_tests
from tests.support_run import LINEAR, Case, twice

ROOT = Path(__file__).parents[2]
FLIGHTS = ROOT / "topologies" / "flights" / "flights.yaml"


# ------------------------------------------------------------------------------------------------------------------ check


def test_check_of_a_good_file(call: Callable[..., Said], case: Case) -> None:
    assert call("check", case.path) == (0, f"{case.path}: ok\n", "")


def test_check_goes_through_all_files_and_ends_with_the_worst(call: Callable[..., Said], case: Case, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(case.path.read_text().replace("model: twice", "model: thrice"))
    gone = tmp_path / "gone.yaml"
    code, out, err = call("check", gone, bad, case.path)
    assert (code, out) == (78, f"{case.path}: ok\n")
    assert err.startswith(f"there is no topology file {gone}\n    fix:      give the path of a .yaml file")
    assert re.search(rf"^{re.escape(str(bad))}:\d+:\d+: .*thrice.*\n    got: .*\n    expected: .*twice.*\n", err, re.MULTILINE), err
    assert call("check", gone)[0] == 69


def test_check_names_a_schema_file_that_is_not_there(call: Callable[..., Said], case: Case, tmp_path: Path) -> None:
    (tmp_path / "event.avsc").unlink()
    code, _, err = call("check", case.path)
    assert code == 78
    assert re.match(rf"{re.escape(str(case.path))}:5:\d+: .*event\.avsc", err), err
    assert "    fix:      " in err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"name: f\xfchrung\n", ":1:8: the file is no UTF-8 text\n    got:      byte 0xfc\n    expected: text in UTF-8\n"),
        (b"\x7fELF\x02\x01\x00\n\xff", ":2:1: the file is no UTF-8 text"),
        (b"", ":1:1: "),
        (b"\x00", ":1:1: "),
    ],
)
def test_check_of_a_file_that_is_no_text(call: Callable[..., Said], tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(data)
    code, out, err = call("check", path)
    assert (code, out) == (78, "")
    assert err.startswith(f"{path}{words}")


def test_a_byte_order_mark_is_no_mistake(call: Callable[..., Said], case: Case) -> None:
    case.path.write_bytes(b"\xef\xbb\xbf" + case.path.read_bytes())
    assert call("check", case.path)[0] == 0


def test_a_schema_that_is_no_text_is_told_where_it_is_named(call: Callable[..., Said], case: Case, tmp_path: Path) -> None:
    (tmp_path / "event.avsc").write_bytes(b"\xff\xfe{")
    code, _, err = call("check", case.path)
    assert code == 78
    assert re.match(rf"{re.escape(str(case.path))}:5:\d+: ", err), err


# ---------------------------------------------------------------------------------------------------------------- explain


def test_explain_shows_sections_topics_and_state(call: Callable[..., Said], case: Case) -> None:
    code, out, err = call("explain", case.path)
    assert (code, err) == (0, "")
    for words in ("topology cli: exactly_once", "section ", "cli-events", "cli-predictions", "cli.decisions", "score", "twice"):
        assert words in out


def test_explain_as_a_drawing(call: Callable[..., Said], case: Case) -> None:
    code, out, _ = call("explain", case.path, "--mermaid")
    assert code == 0
    assert out.startswith("flowchart ")


def test_explain_in_full_is_a_topology_of_the_same_meaning(call: Callable[..., Said], case: Case) -> None:
    before = load_plan(case.path)
    code, out, _ = call("explain", case.path, "--full")
    assert code == 0
    assert "record_bytes_max: 1000000" in out
    case.path.write_text(out)
    assert load_plan(case.path) == before


@pytest.mark.parametrize("form", [[], ["--mermaid"], ["--full"]])
def test_explain_of_a_bad_file_says_what_check_says(call: Callable[..., Said], case: Case, form: list[str]) -> None:
    case.path.write_text(case.path.read_text().replace("from: events", "from: event"))
    _, _, wrong = call("check", case.path)
    assert wrong
    assert call("explain", case.path, *form) == (78, "", wrong)


def test_a_reader_that_goes_away_is_no_error(case: Case) -> None:
    command = [sys.executable, "-m", "stream_infer", "explain", str(case.path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.wait(30), process.stderr.read()) == (141, b"")


# -------------------------------------------------------------------------------------------------------------------- run


def spoil(how: str, case: Case) -> None:
    file = case.folder / "twice.safetensors"
    if how == "gone":
        file.unlink()
    elif how == "pinned":
        use(case, LINEAR.replace("inputs", f"sha256: {'0' * 64}, inputs"))
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-5])
    elif how == "other columns":
        file.write_bytes(twice(("price",)).to_bytes())
    elif how == "more columns":
        file.write_bytes(twice(("amount", "price")).to_bytes())
    elif how == "nan":
        model = twice()
        file.write_bytes(LinearModel(np.full((1, 1), np.nan), model.bias, model.mean, model.scale, "identity", ("amount",)).to_bytes())
    else:
        use(case, "{kind: torch, class: squeezed, artifact: twice.safetensors, inputs: [amount]}", admitted.Squeezed())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("gone", ["twice.safetensors: there is no such file", "expected: a model file as `artifact`", "fix:      train it, or correct"]),
        ("pinned", ["not the one that is pinned", "got:      sha256", f"expected: sha256 {'0' * 64}", "fix:      restore"]),
        ("cut", ["twice.safetensors: ", "cut off"]),
        ("other columns", ["column 0 of the model is another", "got:      price", "expected: amount", "fix:      train the model"]),
        ("more columns", ["another number of inputs", "got:      2 columns (+price)", "expected: 1 columns", "fix:      train the model"]),
        ("nan", ["tensor weights holds NaN or infinity", "got:      nan", "expected: finite numbers", "fix:      train again"]),
        ("shape", ["the output's shape does not follow the batch", "expected: (2, 1)", "fix:      keep the batch as the first"]),
    ],
)
def test_a_model_that_cannot_serve_ends_the_run_before_anything_is_read(
    call: Callable[..., Said], case: Case, how: str, words: list[str]
) -> None:
    spoil(how, case)
    code, out, err = call("run", case.path, "--bootstrap", case.bootstrap, "--admit", "tests.admitted")
    assert (code, out) == (1, "")
    for part in words:
        assert part in err
    assert "no Kafka broker" not in err


def test_a_broker_that_is_not_there_is_told(call: Callable[..., Said], case: Case) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, but nobody listens
        bootstrap = f"127.0.0.1:{unused.getsockname()[1]}"
        found = subprocess.run(  # a process of its own: what librdkafka prints counts too
            [sys.executable, "-m", "stream_infer", "run", str(case.path), "--bootstrap", bootstrap],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,  # it asks for 5 seconds; left to itself the client asks for ever
        )
    assert (found.returncode, found.stdout) == (69, "")
    lines = found.stderr.splitlines()
    assert lines[0] == f"no Kafka broker answers at {bootstrap}"
    assert lines[1].startswith("    got:      _TRANSPORT: ")
    assert lines[2] == "    expected: a broker that takes connections there"
    assert lines[3].startswith("    fix:      start one (stream-infer broker start), or give another address with --bootstrap")
    assert len(lines) == 4


@pytest.mark.parametrize("command", [["run", "{}"], ["trainset", "{}", "--out", "set.npz"]])
def test_without_a_broker_named_or_running(
    call: Callable[..., Said], case: Case, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(case.folder)
    monkeypatch.delenv("STREAM_INFER_BOOTSTRAP", raising=False)
    code, _, err = call(*(part.format(case.path) for part in command))
    assert code == 69
    assert err.splitlines() == [
        "no broker is named, and the development broker of this folder does not run",
        "    expected: --bootstrap HOST:PORT, STREAM_INFER_BOOTSTRAP, or a running development broker",
        "    fix:      start one: stream-infer broker start",
    ]


def test_stages_that_the_topology_does_not_have(call: Callable[..., Said], case: Case) -> None:
    code, _, err = call("run", case.path, "--bootstrap", case.bootstrap, "--stages", "score,scroe")
    assert code == 69
    assert err.splitlines() == ["--stages names what the topology does not have", "    got:      scroe", "    expected: score"]


def test_a_module_that_cannot_be_admitted(call: Callable[..., Said], case: Case) -> None:
    code, _, err = call("run", case.path, "--bootstrap", case.bootstrap, "--admit", "nothing_of_this_name")
    assert code == 69
    assert err.startswith("--admit nothing_of_this_name: No module named")


def test_a_secret_that_is_not_there(call: Callable[..., Said], case: Case) -> None:
    case.path.write_text(case.path.read_text() + "client: {sasl.password: {env: NOT_SET_IN_TESTS}}\n")
    code, _, err = call("run", case.path, "--bootstrap", case.bootstrap)
    assert code == 69
    assert "client setting sasl.password: the environment has no NOT_SET_IN_TESTS" in err


# ----------------------------------------------------------------------------------------------------------------- others


def test_the_status_of_a_broker_that_does_not_run(call: Callable[..., Said], tmp_path: Path) -> None:
    code, out, err = call("broker", "status", "--folder", tmp_path / "none")
    assert (code, err) == (1, "")
    assert out.splitlines() == [f"folder:     {tmp_path}/none", "running:    False", "data_mb:    0.0"]
    assert call("broker", "stop", "--folder", tmp_path / "none") == (0, "was not running\n", "")


def test_docs_writes_the_committed_pages_fresh(call: Callable[..., Said], tmp_path: Path) -> None:
    code, out, _ = call("docs", "--folder", tmp_path)
    assert code == 0
    for path in ("docs/topology-reference.md", "schemas/topology.schema.json"):
        assert str(tmp_path / path) in out
        assert (tmp_path / path).read_text() == (ROOT / path).read_text(), "write them again: stream-infer docs"


def test_a_time_that_is_none_is_refused(call: Callable[..., Said], case: Case) -> None:
    code, _, err = call("trainset", case.path, "--out", "x.npz", "--from", "yesterday")
    assert code == 2
    assert "'yesterday' is no date or time such as 2013-07-01" in err


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [("1970-01-01", 0), ("2013-07-01T00:00:00Z", 1_372_636_800_000), ("2013-07-01T02:00+02:00", 1_372_636_800_000)],
)
def test_times_without_a_zone_are_utc(text: str, time_ms: int) -> None:
    assert cli._time(text) == time_ms


@pytest.mark.parametrize("arguments", [[], ["fly"], ["check"], ["run"], ["trainset", "x.yaml"], ["explain", "a", "b"]])
def test_what_is_no_command_is_answered_with_the_usage(call: Callable[..., Said], arguments: list[str]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert err.startswith("usage: stream-infer")


@pytest.mark.parametrize("command", ["check", "explain", "test", "sim"])
def test_what_needs_neither_torch_nor_kafka_imports_neither(case: Case, command: str) -> None:
    """torch alone costs 1 to 2 s and 200 MB."""
    with_tests(case, 9.0)
    # One seed of the simulator takes seconds, and imports nothing that its module does not.
    what = ["-c", "import stream_infer.cli_sim"] if command == "sim" else ["-m", "stream_infer", command, str(case.path)]
    found = subprocess.run([sys.executable, "-X", "importtime", *what], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in found.stderr.splitlines() if line.startswith("import time:")}
    assert "stream_infer" in modules
    assert not modules & {"torch", "confluent_kafka", "prometheus_client", "pandas"}


def test_the_installed_command_is_this_one() -> None:
    command = shutil.which("stream-infer", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("the package is not installed beside this Python")
    found = subprocess.run([command, "check", str(FLIGHTS)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == f"{FLIGHTS}: ok\n"
