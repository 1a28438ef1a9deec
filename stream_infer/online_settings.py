"""online_settings: what a topology may say of Redis: whose features it reads there, and what it writes there for others."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_FIELD = re.compile(r"\{([^{}]*)\}")
FORMS = ("hash", "json", "string")


@dataclass(frozen=True)
class KeyTemplate:
    """Redis keys made of a row's fields, such as `user:{user_id}`. texts: one more than fields; they stand around and between them."""

    texts: tuple[str, ...]
    fields: tuple[str, ...]

    @staticmethod
    def of(text: str) -> KeyTemplate:
        """The template that a topology writes down; see template_problem()."""
        parts = _FIELD.split(text)
        return KeyTemplate(tuple(parts[::2]), tuple(parts[1::2]))

    def __str__(self) -> str:
        fields = [*(f"{{{field}}}" for field in self.fields), ""]
        return "".join(text + field for text, field in zip(self.texts, fields, strict=True))


def template_problem(text: str) -> str:
    """Why no keys can be made of this text; "" when they can."""
    bare = _FIELD.sub("", text)
    if "{" in bare or "}" in bare:
        return "a brace without its other half"
    names = _FIELD.findall(text)
    if not names:
        return "no field in braces: all rows would share one key"
    if any(not name for name in names):
        return "braces without the name of a field"
    return "more than 512 bytes" if len(text.encode()) > 512 else ""


@dataclass(frozen=True)
class RedisSettings:
    """Where Redis is. url: `${env:NAME}` or `${file:path}`, read when a worker starts; timeout_ms: of one round trip."""

    url: str
    timeout_ms: int = 50


@dataclass(frozen=True)
class RedisLookupSettings:
    """Numbers that other systems keep in Redis. form: hash (fields by name), json (members of an object) or string (the number itself).

    take: (name, its value where the key or the field is absent, is no number, or Redis did not answer; NaN: none). A value is asked
    for again ttl_ms after it was read (0: each time), an absent one too; cached_max keys are remembered. After failures_max round
    trips in a row that failed, Redis is left alone for retry_ms, then for twice as long each time, at most retry_ms_max.
    """

    redis: RedisSettings
    key: KeyTemplate
    form: str
    take: tuple[tuple[str, float], ...]
    ttl_ms: int = 60_000
    cached_max: int = 100_000
    failures_max: int = 3
    retry_ms: int = 1_000
    retry_ms_max: int = 30_000

    def columns(self) -> tuple[str, ...]:
        """The names of the columns taken, in order."""
        return tuple(name for name, _ in self.take)

    def defaults(self) -> tuple[float, ...]:
        """Their values where nothing is known."""
        return tuple(default for _, default in self.take)


@dataclass(frozen=True)
class StoreSettings:
    """What of each answer others find in Redis, as a hash under its key. ttl_ms: after the record's own time it is gone (None: never)."""

    redis: RedisSettings
    key: KeyTemplate
    fields: tuple[str, ...]
    ttl_ms: int | None = None


def number_of(value: object) -> float:
    """What a text or a JSON value in Redis says as a number; NaN where it says none."""
    if isinstance(value, bytes | bytearray | str | int | float):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            return math.nan
        return found if math.isfinite(found) else math.nan
    return math.nan
