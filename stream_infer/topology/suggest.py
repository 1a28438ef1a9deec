"""topology.suggest: "did you mean". Used by every check that looks a word up."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant, None where none is near. Ties go to the earlier in alphabetical order."""
    candidates = sorted(known)
    lower = {candidate.lower(): candidate for candidate in reversed(candidates)}
    if word.lower() in lower:
        return lower[word.lower()]
    near = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.6)
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
