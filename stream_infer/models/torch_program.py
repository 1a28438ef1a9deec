"""models.torch_program: nets that bring their own code: .pt2 and TorchScript files. torch_model → *torch_program* → load.

All of them can run code when they are loaded or asked: whoever calls has checked trust and checksum.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile

import torch

from stream_infer.models.base import model_error
from stream_infer.models.torch_model import PLAIN, Computing, TorchModel

_COMPILED = re.compile(r"(^|/)data/aotinductor/")
_SCRIPT = re.compile(r"(^|/)code/")


def kind_of_program(data: bytes, file: str) -> str:
    """exported, compiled or script, by the names in the archive alone. ModelError for no whole archive, or one of torch.save."""
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError):
        entries = []
    # Archives hold archives: of one cut off, another's end may be found, which begins further behind.
    if not entries or min(entry.header_offset for entry in entries) != 0:
        raise model_error(
            "torch cannot load the file: it is no archive, or cut off",
            file,
            got=f"{len(data)} bytes, {bytes(data[:8])!r}…",
            expected="a .pt2 archive of torch.export",
            fix="copy or export it again",
        )
    names = [entry.filename for entry in entries]
    if any(_COMPILED.search(name) for name in names):
        return "compiled"
    if any(_SCRIPT.search(name) for name in names):
        return "script"
    if any(name.endswith("data.pkl") for name in names) and not any("archive_format" in name for name in names):
        raise model_error(
            "the file holds a pickle of torch.save, which runs code when it is loaded and says nothing of its net",
            file,
            got="a state_dict or a whole module",
            expected="safetensors, or a program of torch.export",
            fix="save it with safetensors.torch.save_file(module.state_dict(), path, metadata=…)",
        )
    return "exported"


def load_program(
    data: bytes, columns: tuple[str, ...], device: str, file: str = "torch program", how: Computing = PLAIN
) -> TorchModel:
    """A program of torch.export (.pt2), one that AOTInductor compiled (.pt2), or TorchScript (.pt, deprecated): whichever it holds.

    columns: the topology's, for none of them names its inputs. Raises ModelError where it is none of these, refuses a batch of one row
    or answers with anything but one tensor [n, outputs].
    """
    kind = kind_of_program(data, file)
    if kind == "exported":
        return TorchModel.from_exported(data, columns, device, file, how)
    return _compiled(data, columns, device, file, how) if kind == "compiled" else _script(data, columns, device, file, how)


def _script(data: bytes, columns: tuple[str, ...], device: str, file: str, how: Computing) -> TorchModel:
    warnings.warn(
        f"{file}: TorchScript is deprecated, and PyTorch will drop it: export the net with torch.export and name the .pt2 file",
        FutureWarning,
        stacklevel=2,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own words about the same; ours say what to do
            module = torch.jit.load(io.BytesIO(data), map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  torch raises anything here; all mean one thing
        raise _unloadable("torch.jit", file, error) from None
    module.eval()
    return _asked(module, data, columns, device, file, how)


def _compiled(data: bytes, columns: tuple[str, ...], device: str, file: str, how: Computing) -> TorchModel:
    from torch._inductor import aoti_load_package  # seconds to import, and needed here alone

    try:
        module = aoti_load_package(io.BytesIO(data), run_single_threaded=False)
    except Exception as error:  # noqa: BLE001  torch raises anything here; all mean one thing
        raise _unloadable("AOTInductor", file, error) from None
    return _asked(module, data, columns, device, file, how)


def _asked(module: object, data: bytes, columns: tuple[str, ...], device: str, file: str, how: Computing) -> TorchModel:
    assert callable(module)
    try:
        return TorchModel(module, columns, hashlib.sha256(data).hexdigest(), device, file, how)
    except (AssertionError, RuntimeError) as error:
        raise model_error(
            "the program refuses a batch of one row of the topology's inputs",
            file,
            got=(str(error).strip().splitlines() or [""])[-1][:300],
            expected=f"float32[n, {len(columns)}] with n dynamic",
            fix='export with dynamic_shapes=({0: torch.export.Dim("n")},)',
        ) from None


def _unloadable(loader: str, file: str, error: Exception) -> Exception:
    return model_error(
        f"{loader} cannot load the file",
        file,
        got=f"{type(error).__name__}: {error}"[:300].replace("\n", " "),
        expected="a whole file, made for this version of torch",
        fix="export it again with this version of torch",
    )
