from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import stream_infer
from stream_infer.jit import FOLDER, below_at, equal_at, jit, ones, place_of, sources
from stream_infer.records import Bytes

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


@jit
def compared(block: Bytes, byte: int) -> tuple[np.uint64, np.uint64, int]:
    at = place_of(block)
    return equal_at(at, byte), below_at(at, byte), ones(equal_at(at, byte))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 127))
def test_comparisons_of_32_bytes_mark_the_bytes_one_by_one(block: bytes, byte: int) -> None:
    equal, below, count = compared(np.frombuffer(block, dtype=np.uint8), byte)
    assert int(equal) == sum(1 << place for place, one in enumerate(block) if one == byte)
    assert int(below) == sum(1 << place for place, one in enumerate(block) if one < byte or one > 127)
    assert count == block.count(byte)


def let_go_of(source: str) -> list[str]:
    """Kernels that take the place of an array of their own, once, and do not return it: it is let go of after that, and written to all the
    same. Where the place is asked for within a loop, the array is held until the loop ends."""
    found = []
    for kernel in ast.walk(ast.parse(source)):
        if not isinstance(kernel, ast.FunctionDef) or not {"jit", "part"} & {ast.unparse(one) for one in kernel.decorator_list}:
            continue
        made: set[str] = set()
        for line in ast.walk(kernel):
            if isinstance(line, ast.Assign) and any(f"np.{one}(" in ast.unparse(line.value) for one in ("empty", "zeros", "ones", "full")):
                made |= {name.id for target in line.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        looped = {id(inner) for loop in ast.walk(kernel) if isinstance(loop, ast.For | ast.While) for inner in ast.walk(loop)}
        returned = {n.id for one in ast.walk(kernel) if isinstance(one, ast.Return) for n in ast.walk(one) if isinstance(n, ast.Name)}
        for call in ast.walk(kernel):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "place_of" and id(call) not in looped:
                name = ast.unparse(call.args[0])
                found += [f"{kernel.name}: {name}"] if name in made - returned else []
    return found


KERNEL = """
@jit
def pack(count: int, out: Bytes) -> Ints:
    numbers = np.empty(count)
    room = place_of(numbers)
    for i in range(count):
        put({room}, i, i)
    return {what}
"""


def test_no_kernel_writes_to_an_array_that_it_let_go_of() -> None:
    """Seen: the heap of a process damaged once in some runs, for other threads were given that memory meanwhile."""
    assert let_go_of(KERNEL.format(room="room", what="count")) == ["pack: numbers"]
    assert let_go_of(KERNEL.format(room="room", what="numbers")) == []
    inside = KERNEL.format(room="place_of(numbers)", what="count").replace("    room = place_of(numbers)\n", "")
    assert let_go_of(inside) == []
    assert [one for text in sources(PACKAGE).values() for one in let_go_of(text.decode())] == []
