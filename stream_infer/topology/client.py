"""topology.client: which settings of the Kafka client a topology may make. read → *client* → edge.

librdkafka's properties can load libraries, run commands and read files, so whoever writes a topology may set only those on
this list; everything else is the operator's, on the command line. Secrets never stand in the file: `{env: NAME}` or `{file: path}`.
"""

from __future__ import annotations

from stream_infer.topology.check_streams import path_problem
from stream_infer.topology.suggest import closest
from stream_infer.topology.values import Findings, Section, Spec, Value

SECRETS = ("sasl.password", "ssl.key.password")
PATHS = ("ssl.ca.location", "ssl.certificate.location", "ssl.crl.location", "ssl.key.location")
CHOICES = {
    "broker.address.family": ("any", "v4", "v6"),
    "compression.type": ("none", "gzip", "snappy", "lz4", "zstd"),
    "sasl.mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    "sasl.mechanisms": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    "security.protocol": ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
}
NUMBERS = (
    "batch.num.messages",
    "batch.size",
    "compression.level",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "linger.ms",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "socket.connection.setup.timeout.ms",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "statistics.interval.ms",
)
TEXTS = ("client.id", "client.rack", "sasl.username")
FLAGS = ("socket.keepalive.enable",)
ALLOWED = (*SECRETS, *PATHS, *CHOICES, *NUMBERS, *TEXTS, *FLAGS)

_RUNS_CODE = "it would load code into the worker"
_OURS = "the worker sets it itself: its guarantees rest on it"
DENIED = {
    "plugin.library.paths": _RUNS_CODE,
    "ssl.engine.location": _RUNS_CODE,
    "ssl.providers": _RUNS_CODE,
    "sasl.kerberos.kinit.cmd": "it is a command that the worker would run",
    "debug": "its log prints keys and secrets",
    "log_level": "the operator sets it on the command line",
    "bootstrap.servers": "the operator says with --bootstrap where the brokers are, so that one topology runs anywhere",
    "metadata.broker.list": "the operator says with --bootstrap where the brokers are, so that one topology runs anywhere",
    "sasl.oauthbearer.token.endpoint.url": "the worker would send its credentials there",
    "enable.ssl.certificate.verification": "without verification anyone could pose as the broker, and with it there is nothing to set",
    "ssl.endpoint.identification.algorithm": "without it anyone with any certificate could pose as the broker",
}
_DENIED_STARTS = {
    "sasl.oauthbearer.": "it sends the worker's credentials to an address of its own",
    "group.": _OURS,
    "enable.": _OURS,
    "transactional.": _OURS,
    "auto.": _OURS,
    "partition": _OURS,
}
_OURS_TOO = (
    "acks",
    "isolation.level",
    "delivery.timeout.ms",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "retries",
    "message.timeout.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "transaction.timeout.ms",
    "retry.backoff.ms",
)
_REFERENCE = "env", "file"


def check_client(spec: Spec, found: Findings) -> None:
    """Every setting is on the list, of its kind, and no secret stands in the file."""
    for name, value in spec.top.entries("client").items():
        why = _denied(name)
        if why:
            found.at_name(
                value,
                f"client setting `{name}` is refused: {why}",
                got=_shown(name, value),
                expected="settings that cannot harm the worker",
                fix="remove it",
            )
        elif name not in ALLOWED:
            near = closest(name, ALLOWED)
            fix = f"did you mean `{near}`?" if near else "remove it; the reference page lists what may stand here"
            found.at_name(
                value,
                f"unknown client setting `{name}`",
                got=_shown(name, value),
                expected="a librdkafka setting on the allow-list",
                fix=fix,
            )
        else:
            _check_value(name, value, found)


def client_settings(spec: Spec, base: str) -> dict[str, str]:
    """Settings for the plan, paths resolved against base. A reference becomes `${env:NAME}` or `${file:path}`; see `reference_of`."""
    settings = {}
    for name, value in spec.top.entries("client").items():
        text = reference_to(value.data) if isinstance(value.data, Section) else str(value.data)
        settings[name] = f"{base}/{text}" if name in PATHS and not isinstance(value.data, Section) else text
    return settings


def reference_of(value: str) -> tuple[str, str] | None:
    """("env", NAME) or ("file", path) where a client setting of the plan comes from outside; None where it is the value itself."""
    if not (value.startswith("${") and value.endswith("}")):
        return None
    source, _, name = value[2:-1].partition(":")
    return (source, name) if source in _REFERENCE else None


def reference_to(section: Section) -> str:
    """A secret as the plan holds it, `${env:NAME}` or `${file:path}`."""
    return next(f"${{{source}:{section.text(source)}}}" for source in _REFERENCE if section.has(source))


def _denied(name: str) -> str:
    if name in ALLOWED:
        return ""
    if name in DENIED:
        return DENIED[name]
    return _OURS if name in _OURS_TOO else next((why for start, why in _DENIED_STARTS.items() if name.startswith(start)), "")


def _check_value(name: str, value: Value, found: Findings) -> None:
    label = f"client setting `{name}`"
    text = value.data
    if isinstance(text, Section):
        return
    assert isinstance(text, str)
    if name in SECRETS:
        expected = "{env: NAME} or {file: path}"
        found.at(
            value,
            f"{label}: a secret stands in the file",
            got=_shown(name, value),
            expected=expected,
            fix=f"write `{name}: {{env: {name.upper().replace('.', '_')}}}`",
        )
    elif "${" in text:
        found.at(
            value,
            f"{label}: nothing is replaced in texts",
            expected="a value, {env: NAME} or {file: path}",
            fix=f"write `{name}: {{env: NAME}}`",
        )
    elif name in PATHS and path_problem(text):
        fix = f"put the file below that folder, or let the operator say: `{name}: {{env: NAME}}`"
        found.at(value, f"{label}: the path {path_problem(text)}", expected="a path below the folder of the topology", fix=fix)
    elif name in FLAGS and text not in ("true", "false"):
        found.at(value, f"{label} cannot be `{text[:60]}`", expected="true or false", fix="write true or false")
    elif name in CHOICES and text.lower() not in [choice.lower() for choice in CHOICES[name]]:
        near = closest(text, CHOICES[name])
        found.at(
            value,
            f"{label} cannot be `{text[:60]}`",
            expected="one of: " + ", ".join(CHOICES[name]),
            fix=f"did you mean `{near}`?" if near else "",
        )
    elif name in NUMBERS and not text.isdecimal():
        found.at(value, f"{label} cannot be `{text[:60]}`", expected="a whole number, 0 or more", fix="write digits only")


def _shown(name: str, value: Value) -> str:
    """The entry as written, except that no secret is ever printed."""
    secret = any(word in name for word in ("password", "secret", "pem", "key", "token", "config"))
    return f"{name}: (not shown)" if secret and not isinstance(value.data, Section) else value.source
