from __future__ import annotations

from pathlib import Path

import pytest

from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.secrets import resolved
from stream_infer.errors import EnvironmentMissing

PASSWORD = "sasl.password"
ODD = " a%s$b\\n'\" ünd \t "


def test_what_is_no_reference_stays_as_it_is() -> None:
    plain = {"linger.ms": "5", PASSWORD: "${HOME}", "client.id": "${other:X}", "sasl.username": "${env:X"}
    assert resolved(plain) == plain


def test_a_reference_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_TEST", ODD)
    assert resolved({PASSWORD: "${env:SECRET_OF_TEST}"}) == {PASSWORD: ODD}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_reference_to_a_file_gives_it_without_its_last_newline(tmp_path: Path, end: str) -> None:
    (tmp_path / "password").write_bytes((ODD + end).encode())
    assert resolved({PASSWORD: f"${{file:{tmp_path}/password}}"}) == {PASSWORD: ODD}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("${env:NOT_SET_IN_TESTS}", "the environment has no NOT_SET_IN_TESTS\n    fix:      export NOT_SET_IN_TESTS=…"),
        ("${file:/nowhere/password}", "there is no file /nowhere/password\n    fix:      put the secret there"),
        ("${file:/}", "there is no file /"),
    ],
)
def test_what_is_not_there_is_named(reference: str, words: str) -> None:
    with pytest.raises(EnvironmentMissing) as found:
        resolved({PASSWORD: reference})
    assert str(found.value).startswith(f"client setting sasl.password: {words}")


def test_a_file_that_is_no_text_is_named_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"hunter2\xff")
    with pytest.raises(EnvironmentMissing, match=r"client setting sasl\.password: the file .*/password cannot be read") as found:
        resolved({PASSWORD: f"${{file:{tmp_path}/password}}"})
    assert "hunter2" not in str(found.value)


def test_no_secret_stands_in_what_is_printed_of_settings() -> None:
    assert "hunter2" not in repr(KafkaSettings("localhost:1", "g", "t", client={PASSWORD: "hunter2"}))
