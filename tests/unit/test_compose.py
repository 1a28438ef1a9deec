"""docker-compose.yml and deploy/: one broker set up like the other, nothing beyond 127.0.0.1, panels of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_infer.edge.kafka_settings import KAFKA_VERSION, SETTINGS, properties, to_environment, to_properties_file
from stream_infer.edge.metrics import HISTOGRAM, METRICS, PREFIX

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# Where this broker stands, which a container says otherwise than a process on the host.
PLACE = {"process.roles", "node.id", "controller.quorum.voters", "listeners", "advertised.listeners", "listener.security.protocol.map"}
PLACE |= {"inter.broker.listener.name", "controller.listener.names", "log.dirs"}


def test_the_container_has_the_settings_of_the_dev_broker_and_no_others() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert {name: environment.get(name) for name in to_environment(SETTINGS)} == to_environment(SETTINGS)
    place = set(to_environment(dict.fromkeys(PLACE, "")))
    assert set(environment) - set(to_environment(SETTINGS)) == place | {"CLUSTER_ID", "KAFKA_HEAP_OPTS"}
    assert set(properties(1, 2, "/data")) == PLACE | set(SETTINGS)


def test_the_properties_file_says_every_setting_once() -> None:
    lines = to_properties_file(properties(9092, 9093, "C:\\data")).splitlines()
    assert len({line.split("=")[0] for line in lines}) == len(lines)
    assert "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093" in lines
    assert "log.dirs=C:\\\\data" in lines


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_pinned_local_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["healthcheck"]["test"][0] == "CMD"
    if service.get("network_mode") == "host":
        said = [*service.get("command", []), *service.get("environment", {}).values()]
        assert any("127.0.0.1" in text for text in said)
        assert not any("0.0.0.0" in text for text in said)
    else:
        assert service["ports"]
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service["ports"])


def test_files_that_are_mounted_exist() -> None:
    volumes = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert all((ROOT / path).is_dir() for path in volumes if path.startswith("."))
    assert {path for path in volumes if not path.startswith(".")} == set(COMPOSE["volumes"])


def test_the_rules_that_prometheus_loads_exist() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert all((ROOT / "deploy/prometheus" / path).exists() for path in config["rule_files"])
    groups = [group for job in config["scrape_configs"] for group in job["static_configs"]]
    assert all(target.startswith("127.0.0.1:") for group in groups for target in group["targets"])


def test_panels_and_alerts_name_metrics_that_exist() -> None:
    exist = {PREFIX + name for name, metric in METRICS.items() if metric.kind != HISTOGRAM}
    histograms = [name for name, metric in METRICS.items() if metric.kind == HISTOGRAM]
    exist |= {f"{PREFIX}{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/stream-infer.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked += [variable["query"]["query"] for variable in dashboard["templating"]["list"]]
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    asked += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    named = {name for text in asked for name in re.findall(PREFIX + r"\w+", text)}
    assert len(named) > 15
    assert named <= exist
    assert all(text.count("(") == text.count(")") for text in asked)


def test_panels_do_not_lie_on_each_other() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/stream-infer.json").read_text())
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        mine = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not mine & cells
        assert place["x"] + place["w"] <= 24
        cells |= mine
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
