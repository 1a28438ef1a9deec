from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stream_infer.edge.registry import MODELS, model_classes
from stream_infer.errors import EnvironmentMissing


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path: what lies there is installed. Modules from it are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("registry_")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def install(folder: Path, package: str, points: str) -> None:
    """A package of one module with entry points."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{MODELS.group}]\n{points}\n")


def module(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    return name


def test_nothing_is_admitted_that_nobody_declared() -> None:
    assert model_classes([]) == {}


def test_an_entry_point_and_an_admitted_module_give_their_factories(packages: Path) -> None:
    install(packages, "registry_one", "tower = registry_nets:tower")
    module(packages, "registry_nets", "def tower(metadata):\n    return 'tower ' + metadata['depth']\n")
    name = module(packages, "registry_admitted", "STREAM_INFER_MODELS = {'bridge': lambda metadata: 'bridge'}\n")
    found = model_classes([name])
    assert sorted(found) == ["bridge", "tower"]
    assert found["tower"]({"depth": "3"}) == "tower 3"
    assert found["bridge"]({}) == "bridge"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["--admit registry_bad: No module named 'registry_bad'", "expected: an importable module", "fix:      install it"]),
        ("import nothing_of_this_name\n", ["--admit registry_bad: No module named 'nothing_of_this_name'"]),
        ("", ["--admit registry_bad: it has no STREAM_INFER_MODELS", "expected: STREAM_INFER_MODELS = {'name': factory} or STREAM_INFER_"]),
        ("STREAM_INFER_MODELS = ['tower']\n", ["it has no STREAM_INFER_MODELS"]),
        ("STREAM_INFER_MODELS = {'tower': 3}\n", ["has what is no factory", "got:      tower", "expected: names → callables"]),
        ("STREAM_INFER_MODELS = {'bridge': print}\n", ["--admit registry_bad: bridge is declared already", "fix:      rename it"]),
    ],
)
def test_what_cannot_be_admitted_is_said(packages: Path, text: str | None, words: list[str]) -> None:
    good = module(packages, "registry_good", "STREAM_INFER_MODELS = {'bridge': print}\n")
    if text is not None:
        module(packages, "registry_bad", text)
    with pytest.raises(EnvironmentMissing) as found:
        model_classes([good, "registry_bad"])
    for part in words:
        assert part in str(found.value)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (["tower = registry_gone:tower"], ["model class tower cannot be loaded", "registry_gone:tower: No module named", "fix:"]),
        (["tower = registry_nets:nothing"], ["model class tower cannot be loaded", "has no attribute 'nothing'"]),
        (["tower = registry_nets:tower", "tower = registry_nets:bridge"], ["two installed packages declare the model class tower"]),
    ],
)
def test_what_is_installed_wrongly_is_said(packages: Path, points: list[str], words: list[str]) -> None:
    module(packages, "registry_nets", "tower = bridge = print\n")
    for number, point in enumerate(points):
        install(packages, f"registry_{number}", point)
    with pytest.raises(EnvironmentMissing) as found:
        model_classes([])
    for part in words:
        assert part in str(found.value)


def test_the_same_package_found_twice_is_no_conflict(packages: Path) -> None:
    module(packages, "registry_nets", "tower = print\n")
    for number in (1, 2):
        install(packages, f"registry_{number}", "tower = registry_nets:tower")
    assert model_classes([]) == {"tower": print}
