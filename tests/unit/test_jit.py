from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import stream_infer
from stream_infer.jit import FOLDER, sources

PACKAGE = Path(stream_infer.__file__).parent


def test_every_module_with_a_kernel_is_among_the_sources_that_date_the_kept_kernels() -> None:
    dated = {path.relative_to(PACKAGE).as_posix() for path in sources(PACKAGE)}
    with_kernels = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "\n@jit\n" in path.read_text()}
    assert with_kernels
    assert with_kernels <= dated
    assert {"jit.py", "features/words.py"} <= dated


def test_kernels_are_kept_anew_when_a_constant_changes(tmp_path: Path) -> None:
    """A copy of the package whose only other file is changed keeps its kernels elsewhere."""
    package = tmp_path / "stream_infer"
    (package / "features").mkdir(parents=True)
    for name in ("__init__.py", "jit.py"):
        (package / name).write_bytes((PACKAGE / name).read_bytes())
    folders = []
    for value in (1, 1, 2):
        (package / "features" / "words.py").write_text(f"WIDTH = {value}\n")
        code = "from stream_infer.jit import FOLDER; print(FOLDER)"
        said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        folders.append(Path(said.stdout.strip()))
    assert folders[0] == folders[1] != folders[2]
    assert folders[0].parent == package / "__pycache__"
    assert FOLDER is not None
