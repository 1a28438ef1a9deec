"""topology.suggest: "did you mean". Used by every check that looks a word up."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# What other systems call it.
OTHER_WORDS = {
    "input": "from",
    "source": "from",
    "output": "to",
    "sink": "to",
    "target": "to",
    "type": "kind",
    "timestamp": "event_time",
    "time": "event_time",
    "ttl": "idle_s",
    "ttl_s": "idle_s",
    "path": "artifact",
    "variants": "arms",
    "size_s": "window_s",
    "algorithm": "by",
    "filter": "where",
    "features": "inputs",
}


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant, None where none is near. Ties go to the earlier in alphabetical order."""
    candidates = sorted(known)
    lower = {candidate.lower(): candidate for candidate in reversed(candidates)}
    if word.lower() in lower:
        return lower[word.lower()]
    elsewhere = OTHER_WORDS.get(word.lower())
    if elsewhere in candidates:
        return elsewhere
    near = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.65)  # 0.6 takes `sklearn` for `linear`
    if near:
        return lower[near[0]]
    # `window` for `window_s`, `delay` for `delay_mean_1h`: too short for the ratio, yet plain to a reader.
    starts = [candidate for candidate in candidates if len(word) >= 3 and candidate.startswith(word)]
    return starts[0] if len(starts) == 1 else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The text of a `fix:` line, "" where no known word is near."""
    near = closest(word, known)
    return f"did you mean `{near}`?" if near else ""


def listed(words: Iterable[str], *, most: int = 20) -> str:
    """Words for an `expected:` line, in alphabetical order; the tail of a long list becomes a count."""
    known = sorted(words)
    shown = ", ".join(known[:most])
    return shown + (f" … and {len(known) - most} more" if len(known) > most else "")
