"""models.torch_precision: nets that compute in fewer bits than their weights were trained in. torch_model → *torch_precision*.

Own code, for torch.ao.quantization is deprecated and its successor is a package of its own. bfloat16 and int8 stand for the linear
layers of a net alone: there the time goes, while inputs keep their range until they are standardised.
"""

from __future__ import annotations

import torch
from torch import nn

from stream_infer.models.base import model_error

PRECISIONS = ("float32", "bfloat16", "int8")


class LinearBfloat16(nn.Module):
    """A linear layer that multiplies in bfloat16 and adds up in float32, as the hardware does. x: float32[n, inputs] → float32."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = layer.weight.detach().to(torch.bfloat16)
        bias: torch.Tensor | None = getattr(layer, "bias", None)
        self.bias = None if bias is None else bias.detach().to(torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: float32[…, inputs] → float32[…, outputs]."""
        return nn.functional.linear(x.to(torch.bfloat16), self.weight, self.bias).to(torch.float32)


class LinearInt8(nn.Module):
    """A linear layer of whole numbers: weights by output in -127 … 127, each row of inputs scaled likewise when it comes.

    Sums of whole numbers are exact, so an answer does not depend on the batch that it is in.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        self.scale = weight.abs().amax(dim=1).clamp_min(1e-30) / 127.0
        self.weight = torch.round(weight / self.scale[:, None]).to(torch.int8).t().contiguous()
        bias: torch.Tensor | None = getattr(layer, "bias", None)
        self.bias = None if bias is None else bias.detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: float32[n, inputs] → float32[n, outputs]."""
        flat = x.reshape(-1, x.shape[-1])
        scale = flat.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / 127.0
        sums = torch._int_mm(torch.round(flat / scale).to(torch.int8), self.weight)  # noqa: SLF001 — what torchao calls too
        out = sums.to(torch.float32) * (scale * self.scale)
        out = out if self.bias is None else out + self.bias
        return out.reshape(*x.shape[:-1], out.shape[-1])


def in_precision(module: nn.Module, precision: str, file: str) -> nn.Module:
    """The module with its linear layers in this precision; itself for float32. ModelError where it has none."""
    if precision == "float32":
        return module
    kind = LinearBfloat16 if precision == "bfloat16" else LinearInt8
    if isinstance(module, nn.Linear):
        return kind(module)
    if not _replace(module, kind):
        raise model_error(
            f"no layer of the net can compute in {precision}",
            file,
            got=", ".join(sorted({type(part).__name__ for part in module.modules()}))[:200],
            expected="torch.nn.Linear layers",
            fix="remove `precision`",
        )
    return module


def _replace(module: nn.Module, kind: type[LinearBfloat16] | type[LinearInt8]) -> int:
    count = 0
    for name, part in list(module.named_children()):
        if type(part) is nn.Linear:
            setattr(module, name, kind(part))
            count += 1
        else:
            count += _replace(part, kind)
    return count
