"""topology.spec_deciding: what every stage that answers rows may say. spec_names → *spec_deciding* → spec_decisions, spec_rollout."""

from __future__ import annotations

from stream_infer.decide.settings import LATE_WORDS
from stream_infer.topology.shape import Place, Setting, choice, listing, number, place, text
from stream_infer.topology.spec_names import KIND_DOC, ROWS_FROM

_WHERE = Setting(
    "where",
    text(),
    "only rows for which this one comparison holds are answered: a name, an operator, a literal",
    "departs_at_ms >= 2013-07-01T00:00:00Z",
)
_SHADOW = Setting(
    "shadow", listing(text(names=("model",))), "models that run on every row and are recorded, but never answer because of it", "[static]"
)

_DEADLINE = Setting(
    "deadline_ms",
    number(above=0, high=1e9),
    "a row should be answered within so many ms of its event time; batches end before the oldest row's deadline, unless a backlog waits",
    "250",
)


def late(*words: str) -> Setting:
    """What becomes of late rows: one of these words."""
    return Setting(
        "late",
        choice(*words),
        "with `deadline_ms`: what becomes of a row whose deadline is over before it is begun: "
        + "; ".join(f"{word}: {LATE_WORDS[word]}" for word in words)
        + " (default: serve; a deterministic run knows no clock, and nothing is late in it)",
        words[-1],
    )


_LATE = late("serve", "topic", "drop")


def deciding(word: str, doc: str, *own: Setting, late: Setting = _LATE) -> Place:
    """The stage of kind `word`: its own settings among those of all stages that answer."""
    return place(
        f"stage.{word}",
        f"a {word} stage",
        doc,
        Setting("kind", choice(word), KIND_DOC, word, required=True),
        Setting("from", ROWS_FROM, "whose rows are answered", "plane", required=True),
        _WHERE,
        *own,
        _SHADOW,
        _DEADLINE,
        late,
    )
