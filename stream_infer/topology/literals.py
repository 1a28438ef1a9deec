"""topology.literals: what a scalar says once its type is known. Used by reading, by `where` and by rows of tests.

YAML 1.1 guesses (`on` is true, `12:30:00` is 45000, `1e3` is text, `017` is 15); here the type of the setting decides and every
form that could mean two things is refused.
"""

from __future__ import annotations

import math
import re
from datetime import datetime

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]{3})*)")
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*(_[0-9]{3})*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|sec|m|min|h|d)")
_UNIT_MS = {"ms": 1.0, "s": 1e3, "sec": 1e3, "m": 60e3, "min": 60e3, "h": 3600e3, "d": 86400e3}

NOTHING = ("", "~", "null", "Null", "NULL")
YES = ("yes", "Yes", "YES", "on", "On", "ON", "True", "TRUE", "y", "Y", "1")
NO = ("no", "No", "NO", "off", "Off", "OFF", "False", "FALSE", "n", "N", "0")


def number_of(text: str) -> float | None:
    """A finite number, None where the text is none: no `.inf`, no `.nan`, no hexadecimal, no leading zeros."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def integer_of(text: str) -> int | None:
    """A whole number, also as `1e3` or `1_000`; None where the text is none."""
    if _INTEGER.fullmatch(text):
        return int(text)
    value = number_of(text)
    return int(value) if value is not None and value.is_integer() and abs(value) < 2**53 else None


def time_ms_of(text: str) -> int | None:
    """An ISO 8601 time with its zone, in ms since 1970; None where the text is none or names no zone (it could mean two moments)."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None or "T" not in text:
        return None
    return round(moment.timestamp() * 1000)


def duration_hint(name: str, text: str) -> str:
    """The fix for `window_s: 1h`: the same length in the unit that the setting's name ends with; "" where text is no length."""
    found = _DURATION.fullmatch(text.strip())
    unit = next((unit for unit in ("ms", "s") if f"_{unit}_" in f"{name}_"), None)
    if found is None or unit is None:
        return ""
    return f"write `{name}: {float(found[1]) * _UNIT_MS[found[2]] / _UNIT_MS[unit]:.10g}`"
