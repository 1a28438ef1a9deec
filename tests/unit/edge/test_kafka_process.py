"""Ports, ids, process marks, and what a broker's log is read for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream_infer.edge import broker_folder, devbroker, kafka_process, kafka_settings
from stream_infer.errors import EnvironmentMissing


def test_cluster_ids_are_kafkas_and_never_look_like_an_option() -> None:
    ids = [kafka_process.new_cluster_id() for _ in range(500)]
    assert len(set(ids)) == 500
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)


def test_wanted_ports_are_given_when_both_are_free() -> None:
    wanted = kafka_process.free_ports()
    assert len(set(wanted)) == 2
    assert kafka_process.free_ports(wanted=wanted) == wanted


def test_wanted_ports_are_not_given_when_one_is_taken() -> None:
    first, second = kafka_process.free_ports()
    with socket.socket() as holder:
        holder.bind((kafka_process.LOOPBACK, second))
        holder.listen()
        assert kafka_process.accepts(second)
        assert second not in kafka_process.free_ports(wanted=(first, second))


def test_a_process_has_a_mark_while_it_lives() -> None:
    assert kafka_process.started_at(os.getpid()) == kafka_process.started_at(os.getpid()) != ""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert kafka_process.started_at(child.pid) not in ("", kafka_process.started_at(os.getpid()))
    assert kafka_process.started_at(child.pid) == ""


def test_only_the_process_that_is_meant_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        kafka_process.end(child.pid, "the mark of an earlier one")
        assert child.poll() is None
        kafka_process.end(child.pid, kafka_process.started_at(child.pid))
    assert child.returncode == -15


def test_a_java_that_cannot_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match=r"no Java runtime(.|\n)*pip install"):
        kafka_process.checked_java(tmp_path / "java")
    assert kafka_process.checked_java(kafka_process.java()).name == "java"


def test_a_folder_is_claimed_once_until_the_claim_is_closed(tmp_path: Path) -> None:
    first = kafka_process.claim(tmp_path)
    with pytest.raises(EnvironmentMissing, match="another broker works on this folder"):
        kafka_process.claim(tmp_path, wait_s=0.1)
    os.close(first)
    os.close(kafka_process.claim(tmp_path, wait_s=0.0))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("RuntimeException: Invalid cluster.id in: meta.properties", "belongs to another cluster"),
        ("IOException: No space left on device", "the disk is full"),
        ("OutOfMemoryError: Java heap space", "heap is too small"),
        ("[main] ERROR kafka.Kafka$ - a new one", "a new one"),
    ],
)
def test_the_log_says_why_a_broker_ended(line: str, said: str, tmp_path: Path) -> None:
    log = tmp_path / "broker.log"
    log.write_text(f"12:00:00 WARN before\n{line}\n12:00:01 WARN after\n")
    assert said in str(kafka_process.failure(log, tmp_path))


def test_an_empty_log_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "broker.log").touch()
    assert "nothing in its log" in str(kafka_process.failure(tmp_path / "broker.log", tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"unknown": 1}'])
def test_a_torn_or_foreign_broker_json_counts_as_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "broker.json").write_text(text)
    assert broker_folder.read_state(tmp_path) is None
    assert devbroker.status(tmp_path) == {"folder": str(tmp_path), "running": False, "data_mb": 0.0}


def test_the_ports_of_the_last_time_are_read_back(tmp_path: Path) -> None:
    assert broker_folder.last_ports(tmp_path) is None
    text = kafka_settings.to_properties_file(kafka_settings.properties(1234, 5678, "/data"))
    (tmp_path / "server.properties").write_text(text)
    assert broker_folder.last_ports(tmp_path) == (1234, 5678)


def test_logs_that_nobody_knows_are_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\nnode.id=1\n")
    with pytest.raises(EnvironmentMissing, match="another cluster's"):
        broker_folder.own_cluster_id(tmp_path)
