"""The dev broker: one per folder, ends with its owner, keeps its data, never touches another cluster's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import ConfigResource

from stream_infer.edge import devbroker, kafka_process
from stream_infer.edge.kafka_settings import SETTINGS
from stream_infer.errors import EnvironmentMissing
from tests.support import Row, admin, create_topics, produce_rows, read_all, wait_until

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif("STREAM_INFER_BOOTSTRAP" in os.environ, reason="STREAM_INFER_BOOTSTRAP: an outside broker is not ours to stop"),
]
ROOT = Path(__file__).parents[2]
YEAR_2013_MS = 1_370_000_000_000
YEAR_2100_MS = 4_102_444_800_000


@pytest.fixture
def folder(broker: devbroker.Broker, tmp_path: Path) -> Iterator[Path]:
    """A fresh folder. The session's broker is asked for first, so that a machine without jars skips these tests too."""
    yield tmp_path / "cluster"
    devbroker.stop(tmp_path / "cluster")


def in_another_process(code: str, folder: Path) -> subprocess.Popen[str]:
    """A process that starts a broker on the folder as `broker` and then runs the code."""
    text = f"from pathlib import Path; from stream_infer.edge import devbroker; folder = Path({str(folder)!r})\n{code}"
    return subprocess.Popen([sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


OWNER = "broker = devbroker.start(folder); print(broker.pid, flush=True); input()"


def gone(pid: int) -> bool:
    return kafka_process.started_at(pid) == ""


def test_a_second_start_in_the_same_folder_gives_the_running_one(folder: Path) -> None:
    first = devbroker.start(folder)
    assert devbroker.start(folder) == first
    with in_another_process("print(devbroker.start(folder).pid)", folder) as other:
        assert int(other.communicate(timeout=60)[0]) == first.pid
    # … and the other process, which did not start it, did not end it either.
    found = devbroker.status(folder)
    assert (found["running"], found["answers"], found["pid"], found["cluster_id"]) == (True, True, first.pid, first.cluster_id)


def test_two_processes_that_start_at_once_get_one_broker(folder: Path) -> None:
    with in_another_process(OWNER, folder) as one, in_another_process(OWNER, folder) as two:
        assert one.stdout is not None
        assert two.stdout is not None
        assert int(one.stdout.readline()) == int(two.stdout.readline()) > 0
        one.communicate("\n", timeout=60)
        two.communicate("\n", timeout=60)


def test_data_address_and_cluster_outlive_a_restart(folder: Path) -> None:
    first = devbroker.start(folder)
    create_topics(first.bootstrap, {"kept": 2})
    rows = [Row(b"%d" % i, b"k%d" % i, i % 2, YEAR_2013_MS + i) for i in range(100)]
    produce_rows(first.bootstrap, "kept", rows)
    assert devbroker.stop(folder)
    assert gone(first.pid)
    assert devbroker.status(folder)["running"] is False

    second = devbroker.start(folder)
    assert (second.cluster_id, second.bootstrap) == (first.cluster_id, first.bootstrap)
    assert second.pid != first.pid
    assert sorted((row.value, row.key, row.timestamp_ms) for row in read_all(second.bootstrap, "kept")) == sorted(
        (row.value, row.key, row.timestamp_ms) for row in rows
    )


def test_after_kill_9_of_the_broker_it_comes_back_with_its_data(folder: Path) -> None:
    first = devbroker.start(folder)
    create_topics(first.bootstrap, {"kept": 1})
    produce_rows(first.bootstrap, "kept", [Row(b"1"), Row(b"2")])
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: gone(first.pid), "java is gone")
    assert devbroker.status(folder)["running"] is False  # broker.json is stale and not believed
    second = devbroker.start(folder)
    assert [row.value for row in read_all(second.bootstrap, "kept")] == [b"1", b"2"]


def test_it_dies_with_an_owner_that_is_killed(folder: Path) -> None:
    with in_another_process(OWNER, folder) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not gone(pid)
        owner.kill()
    wait_until(lambda: gone(pid), "java ended after its owner")
    # Closed, not cut off: it was told with SIGTERM.
    assert (folder / "data" / ".kafka_cleanshutdown").exists()


def test_a_start_right_after_the_owner_was_killed_gets_a_broker_that_lives_on(folder: Path) -> None:
    with in_another_process(OWNER, folder) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    broker = devbroker.start(folder)
    assert broker.pid != pid
    assert devbroker.status(folder)["answers"] is True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_it_dies_with_its_guard(folder: Path) -> None:
    with in_another_process(OWNER, folder) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert guard != owner.pid
        os.kill(guard, signal.SIGKILL)
        wait_until(lambda: gone(pid), "java ended after its guard")
        owner.communicate("\n", timeout=60)


def test_told_to_stay_it_outlives_its_starter_until_it_is_stopped(folder: Path) -> None:
    with in_another_process("print(devbroker.start(folder, stay=True).pid)", folder) as starter:
        pid = int(starter.communicate(timeout=60)[0])
    found = devbroker.status(folder)
    assert found["pid"] == pid
    assert found["stay"] is True
    assert found["answers"] is True
    assert devbroker.stop(folder) is True
    assert gone(pid)
    assert devbroker.stop(folder) is False


def test_ports_that_are_taken_by_others_are_left_to_them(folder: Path) -> None:
    first = devbroker.start(folder)
    devbroker.stop(folder)
    host, port = first.bootstrap.split(":")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
        other.listen()
        second = devbroker.start(folder)
    assert second.bootstrap != first.bootstrap
    assert second.cluster_id == first.cluster_id


def test_a_folder_with_another_clusters_logs_is_refused(folder: Path) -> None:
    first = devbroker.start(folder)
    devbroker.stop(folder)
    (folder / "cluster_id").write_text("AAAAAAAAAAAAAAAAAAAAAA\n")
    with pytest.raises(EnvironmentMissing, match=f"another cluster's(.|\n)*{first.cluster_id}(.|\n)*AAAAAAAAAAAAAAAAAAAAAA"):
        devbroker.start(folder)


def test_an_address_that_answers_as_another_cluster_is_refused(broker: devbroker.Broker, folder: Path) -> None:
    folder.mkdir()
    mark = kafka_process.started_at(os.getpid())
    said = {"bootstrap": broker.bootstrap, "cluster_id": "AAAAAAAAAAAAAAAAAAAAAA", "pid": os.getpid(), "mark": mark}
    (folder / "broker.json").write_text(json.dumps(said))
    try:
        with pytest.raises(EnvironmentMissing, match="another cluster's"):
            devbroker.start(folder)
    finally:
        (folder / "broker.json").unlink()  # it names this very process: the fixture would stop it


def test_a_folder_that_another_broker_works_on_is_refused(folder: Path) -> None:
    first = devbroker.start(folder)
    state = (folder / "broker.json").read_text()
    (folder / "broker.json").unlink()
    with pytest.raises(EnvironmentMissing, match="another broker works on this folder"):
        devbroker.start(folder)
    (folder / "broker.json").write_text(state)
    assert not gone(first.pid)


def test_an_outside_broker_is_used_as_it_is(broker: devbroker.Broker, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_INFER_BOOTSTRAP", broker.bootstrap)
    found = devbroker.reach(folder)
    assert (found.bootstrap, found.cluster_id, found.pid) == (broker.bootstrap, broker.cluster_id, 0)
    assert not folder.exists()


def test_an_outside_broker_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, _ = kafka_process.free_ports()
    monkeypatch.setenv("STREAM_INFER_BOOTSTRAP", f"127.0.0.1:{port}")
    with pytest.raises(EnvironmentMissing, match=f"STREAM_INFER_BOOTSTRAP=127.0.0.1:{port}"):
        devbroker.reach(tmp_path, wait_s=0.5)


def test_rows_of_any_year_are_taken_and_kept(broker: devbroker.Broker, topic: str) -> None:
    create_topics(broker.bootstrap, {topic: 1})
    times = [YEAR_2100_MS, YEAR_2013_MS, YEAR_2013_MS + 365 * 86_400_000, YEAR_2013_MS]
    produce_rows(broker.bootstrap, topic, [Row(b"x", timestamp_ms=time_ms) for time_ms in times])
    assert [row.timestamp_ms for row in read_all(broker.bootstrap, topic)] == times


def test_the_broker_holds_every_setting(broker: devbroker.Broker) -> None:
    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    client = admin(broker.bootstrap)  # held by a name: what it promised dies with it
    held = client.describe_configs([resource])[resource].result(10.0)
    assert {name: held[name].value for name in SETTINGS} == dict(SETTINGS)
