"""features.settings: what a topology may say of features, lookups and a model's inputs."""

from __future__ import annotations

from dataclasses import dataclass

AGGREGATES = ("count", "sum", "mean", "std", "min", "max", "last", "last_k", "since_last")
SHAPES = ("sliding", "tumbling")


@dataclass(frozen=True)
class Aggregate:
    """One feature: `kind` over `field` (None for count and since_last) within window_ms (None: the key's whole life).

    A sliding window's tail moves in steps of window_ms / hops, so its length lies in [window, window * (1 + 1/hops)].
    Sums are exact in fixed point: values are rounded to `decimals` decimal digits. last_k gives k columns, newest first.
    since_last is in seconds.
    """

    name: str
    kind: str
    field: str | None = None
    window_ms: int | None = None
    shape: str = "sliding"
    hops: int = 12
    decimals: int = 3
    k: int = 1

    def columns(self) -> tuple[str, ...]:
        """The names of the feature columns this aggregate yields: name, or name_1 … name_k for last_k."""
        return tuple(f"{self.name}_{i + 1}" for i in range(self.k)) if self.kind == "last_k" else (self.name,)


@dataclass(frozen=True)
class FeatureSettings:
    """Features of one key. keys_max bounds the table (least recently updated goes first); idle_ms forgets idle keys."""

    values: tuple[Aggregate, ...]
    keys_max: int = 1_000_000
    idle_ms: int | None = None

    def columns(self) -> tuple[str, ...]:
        """The names of the feature columns, in order."""
        return tuple(name for aggregate in self.values for name in aggregate.columns())

    def fields(self) -> tuple[str, ...]:
        """The fields of the kept stream that are aggregated, each once, in order of first use."""
        return tuple(dict.fromkeys(a.field for a in self.values if a.field is not None))


@dataclass(frozen=True)
class LookupSettings:
    """Numeric fields taken from a table row: (name of the field, its value where the key is unknown or the field absent)."""

    take: tuple[tuple[str, float], ...]
    keys_max: int = 1_000_000

    def columns(self) -> tuple[str, ...]:
        """The names of the columns taken, in order."""
        return tuple(name for name, _ in self.take)


WIDE = ("list", "numbers", "floats32")  # kinds of inputs that take many columns from one field


@dataclass(frozen=True)
class Input:
    """One entry of a model's `inputs`. kind: number | one_hot | is_missing | list | numbers | floats32 | output.

    number: the field, `missing` in place of an absent value or NaN. one_hot: one column per value of `values`.
    is_missing: 1.0 where the field is absent or NaN. The others are `size` columns: the items of a list, the numbers of a
    text that `separator` joins, the little-endian float32 numbers of a bytes or fixed field. output: the outputs of the model
    `field`, `missing` in place of each where it did not answer; without a size its only one.
    """

    field: str
    kind: str = "number"
    missing: float | None = None
    values: tuple[str, ...] = ()
    size: int = 0
    separator: str = ","

    def columns(self) -> tuple[str, ...]:
        """The names of the columns of the matrix this entry becomes."""
        if self.kind == "one_hot":
            return tuple(f"{self.field}={value}" for value in self.values)
        if self.kind in WIDE or (self.kind == "output" and self.size):
            return tuple(f"{self.field}[{place}]" for place in range(self.size))
        return (f"{self.field}?",) if self.kind == "is_missing" else (self.field,)

    def source(self) -> str:
        """The name of the column that it reads: no field has a space in its name."""
        return f"output of {self.field}" if self.kind == "output" else self.field
