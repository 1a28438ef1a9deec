"""The dev broker: one per folder, ends with its owner, keeps its data, never touches another cluster's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import ConfigResource

from stream_infer.edge import devbroker, kafka_process
from stream_infer.edge.kafka_settings import SETTINGS
from stream_infer.edge.topics import delete_group, delete_topics
from stream_infer.errors import EnvironmentMissing
from tests.support import Row, admin, create_topics, group_offsets, produce_rows, read_all, wait_until

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif("STREAM_INFER_BOOTSTRAP" in os.environ, reason="STREAM_INFER_BOOTSTRAP: an outside broker is not ours to stop"),
]
ROOT = Path(__file__).parents[2]
YEAR_2013_MS = 1_370_000_000_000
YEAR_2100_MS = 4_102_444_800_000
ROWS = [Row(b"%d" % i, b"k%d" % i, i % 2, YEAR_2013_MS + i) for i in range(100)]


@pytest.fixture
def fresh(broker: devbroker.Broker, tmp_path: Path) -> Iterator[Path]:
    """A folder that is not there yet. The session's broker is asked for first, so that a machine without jars skips these tests too."""
    yield tmp_path / "cluster"
    devbroker.stop(tmp_path / "cluster")


@pytest.fixture(scope="module")
def kept(broker: devbroker.Broker, tmp_path_factory: pytest.TempPathFactory) -> devbroker.Broker:
    """A cluster that was made, given the topic `kept` with ROWS, and stopped."""
    folder = tmp_path_factory.mktemp("kept") / "cluster"
    made = devbroker.start(folder)
    try:
        create_topics(made.bootstrap, {"kept": 2})
        produce_rows(made.bootstrap, "kept", ROWS)
    finally:
        assert devbroker.stop(folder)
    assert gone(made.pid)
    assert devbroker.status(folder)["running"] is False
    return made


@pytest.fixture
def folder(kept: devbroker.Broker, fresh: Path) -> Path:
    """A copy of it: what a test starts there need not be formatted first, which takes Java a second. All copies have one address."""
    admin.cache_clear()  # a client that knew the last broker there waits a minute for the group coordinator of the new one
    return shutil.copytree(kept.folder, fresh)


@pytest.fixture(scope="module")
def running(kept: devbroker.Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[devbroker.Broker]:
    """A broker of these tests' own, for those that leave it as it is."""
    folder = shutil.copytree(kept.folder, tmp_path_factory.mktemp("running") / "cluster")
    (folder / "server.properties").unlink()  # the address there is for the other copies
    yield devbroker.start(folder)
    devbroker.stop(folder)


def in_another_process(code: str, folder: Path) -> subprocess.Popen[str]:
    """A process that starts a broker on the folder as `broker` and then runs the code."""
    text = f"from pathlib import Path; from stream_infer.edge import devbroker; folder = Path({str(folder)!r})\n{code}"
    return subprocess.Popen([sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


OWNER = "broker = devbroker.start(folder); print(broker.pid, flush=True); input()"


def gone(pid: int) -> bool:
    return kafka_process.started_at(pid) == ""


def test_a_second_start_in_the_same_folder_gives_the_running_one(running: devbroker.Broker) -> None:
    assert devbroker.start(running.folder) == running
    with in_another_process("print(devbroker.start(folder).pid)", running.folder) as other:
        assert int(other.communicate(timeout=60)[0]) == running.pid
    # … and the other process, which did not start it, did not end it either.
    found = devbroker.status(running.folder)
    assert (found["running"], found["answers"], found["pid"], found["cluster_id"]) == (True, True, running.pid, running.cluster_id)


def test_two_processes_that_start_at_once_get_one_broker(fresh: Path) -> None:
    with in_another_process(OWNER, fresh) as one, in_another_process(OWNER, fresh) as two:
        assert one.stdout is not None
        assert two.stdout is not None
        assert int(one.stdout.readline()) == int(two.stdout.readline()) > 0
        one.communicate("\n", timeout=60)
        two.communicate("\n", timeout=60)


def test_data_address_and_cluster_outlive_a_restart_and_kill_9_of_the_broker(kept: devbroker.Broker, folder: Path) -> None:
    def rows() -> list[tuple[object, ...]]:
        return sorted((row.value, row.key, row.timestamp_ms) for row in read_all(kept.bootstrap, "kept"))

    second = devbroker.start(folder)
    assert (second.cluster_id, second.bootstrap) == (kept.cluster_id, kept.bootstrap)
    assert second.pid != kept.pid
    assert rows() == sorted((row.value, row.key, row.timestamp_ms) for row in ROWS)

    os.kill(second.pid, signal.SIGKILL)
    wait_until(lambda: gone(second.pid), "java is gone")
    assert devbroker.status(folder)["running"] is False  # broker.json is stale and not believed
    third = devbroker.start(folder)
    assert (third.cluster_id, third.bootstrap) == (kept.cluster_id, kept.bootstrap)
    assert rows() == sorted((row.value, row.key, row.timestamp_ms) for row in ROWS)


def test_a_broker_that_has_only_just_started_forgets_the_groups_it_is_told_to(folder: Path) -> None:
    """Of topics deleted while it reads its groups it keeps the offsets: a new topic of the name would be read from their middle."""
    broker, groups, wide = devbroker.start(folder), [f"group-{number}" for number in range(20)], range(100)
    create_topics(broker.bootstrap, {"wide": len(wide)})
    for group in groups:
        client = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "enable.auto.commit": False})
        for offset in range(200):  # so much to read that it is not done when it is asked
            client.commit(offsets=[TopicPartition("wide", number, offset) for number in wide], asynchronous=offset < 199)
        client.close()
    devbroker.stop(folder)
    again = devbroker.start(folder)
    for group in groups:
        delete_group(again.bootstrap, group, {})
    delete_topics(again.bootstrap, ["wide"], {})
    admin.cache_clear()
    assert {group for group in groups if group_offsets(again.bootstrap, group)} == set()


def test_it_dies_with_an_owner_that_is_killed(folder: Path) -> None:
    closed = folder / "data" / ".kafka_cleanshutdown"
    with in_another_process(OWNER, folder) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not gone(pid)
        assert not closed.exists()
        owner.kill()
    wait_until(lambda: gone(pid), "java ended after its owner")
    assert closed.exists(), "not cut off: it was told with SIGTERM"


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


def test_ports_that_are_taken_by_others_are_left_to_them(kept: devbroker.Broker, folder: Path) -> None:
    host, port = kept.bootstrap.split(":")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
        other.listen()
        second = devbroker.start(folder)
    assert second.bootstrap != kept.bootstrap
    assert second.cluster_id == kept.cluster_id


def test_a_folder_with_another_clusters_logs_is_refused(kept: devbroker.Broker, folder: Path) -> None:
    (folder / "cluster_id").write_text("AAAAAAAAAAAAAAAAAAAAAA\n")
    with pytest.raises(EnvironmentMissing, match=f"another cluster's(.|\n)*{kept.cluster_id}(.|\n)*AAAAAAAAAAAAAAAAAAAAAA"):
        devbroker.start(folder)


def test_an_address_that_answers_as_another_cluster_is_refused(broker: devbroker.Broker, fresh: Path) -> None:
    fresh.mkdir()
    mark = kafka_process.started_at(os.getpid())
    said = {"bootstrap": broker.bootstrap, "cluster_id": "AAAAAAAAAAAAAAAAAAAAAA", "pid": os.getpid(), "mark": mark}
    (fresh / "broker.json").write_text(json.dumps(said))
    try:
        with pytest.raises(EnvironmentMissing, match="another cluster's"):
            devbroker.start(fresh)
    finally:
        (fresh / "broker.json").unlink()  # it names this very process: the fixture would stop it


def test_a_folder_that_another_broker_works_on_is_refused(running: devbroker.Broker) -> None:
    state = (running.folder / "broker.json").read_text()
    (running.folder / "broker.json").unlink()
    try:
        with pytest.raises(EnvironmentMissing, match="another broker works on this folder"):
            devbroker.start(running.folder)
    finally:
        (running.folder / "broker.json").write_text(state)
    assert not gone(running.pid)


def test_an_outside_broker_is_used_as_it_is(broker: devbroker.Broker, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_INFER_BOOTSTRAP", broker.bootstrap)
    found = devbroker.reach(fresh)
    assert (found.bootstrap, found.cluster_id, found.pid) == (broker.bootstrap, broker.cluster_id, 0)
    assert not fresh.exists()


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
