"""topology.spec_calls: stages that call the user's functions. spec_names → *spec_calls* → spec."""

from __future__ import annotations

from stream_infer.functions import KINDS, BreakerSettings, FunctionSettings, OutsideSettings
from stream_infer.topology.shape import Setting, choice, integer, listing, mapping, place, section, text
from stream_infer.topology.spec_names import DECIDER, FIELD, KIND_DOC, MS, NAME, ROWS_FROM

_OUTSIDE, _BREAKER, _FUNCTION = OutsideSettings(), BreakerSettings(), FunctionSettings("")

CALLS = (
    place(
        "stage.function",
        "a function stage",
        "The user's own function adds columns to rows or rejects them, before they are answered or (`from` a model or bandit stage) after.",
        Setting("kind", choice("function"), KIND_DOC, "function", required=True),
        Setting(
            "from",
            text(names=(*ROWS_FROM.names, *DECIDER.names)),
            "whose rows go through it",
            "payments",
            required=True,
        ),
        Setting(
            "function",
            text(pattern=r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", words="the name under which a package or an admitted module declares it"),
            "its name in the registry, never a path",
            "check_payment",
            required=True,
        ),
        Setting("per", choice("batch", "row"), "what it is called with: columns of many rows, or one row", "row", default=_FUNCTION.per),
        Setting(
            "reads",
            listing(FIELD, at_least=1),
            "the columns that it gets; after an answer also the fields of predictions, such as answer",
            "[amount, country]",
            required=True,
        ),
        Setting(
            "gives",
            mapping(choice(*KINDS), pattern=NAME.pattern, words=NAME.pattern_words),
            "the columns that it adds, each with what it holds (default: none, it only rejects)",
            "{risk: number, note: text}",
        ),
        Setting(
            "when_it_fails",
            choice("reject", "default"),
            "what becomes of a row for which it raises or cannot reach the other side; a row that it rejects is rejected in any case",
            "default",
            default="reject",
        ),
        Setting("defaults", mapping(text()), "with `when_it_fails: default`: values of `gives` (default: none)", "{risk: 0.5}"),
        Setting(
            "workers",
            integer(low=0, high=256),
            "threads or processes of its own in each worker process; 0: the worker's own thread",
            "4",
            default=_FUNCTION.workers,
        ),
        Setting(
            "workers_are",
            choice("threads", "processes"),
            "threads suit numpy and what waits (default); processes suit plain Python, at about half a millisecond a call",
            "processes",
        ),
        Setting("outside", section("outside"), "it is an async function that speaks to a database or a service", "{timeout_ms: 200}"),
    ),
    place(
        "outside",
        "how the outside is called",
        "Of one stage in one process. A function that raises by a row's own fault (ValueError and its like) is not asked again.",
        Setting(
            "concurrency_max",
            integer(low=1, high=10_000),
            "calls under way at once; with `per: row` a call is a row",
            "100",
            default=_OUTSIDE.concurrency_max,
        ),
        Setting("timeout_ms", MS, "a try that takes longer has failed", "200", required=True),
        Setting("retries", integer(low=0, high=100), "tries after the first", "3", default=_OUTSIDE.retries),
        Setting(
            "backoff_ms",
            MS,
            "the pause before the second try; it doubles with each, and a random part of up to a half is taken off",
            "20",
            default=_OUTSIDE.backoff_ms,
        ),
        Setting("backoff_ms_max", MS, "no pause is longer", "2000", default=_OUTSIDE.backoff_ms_max),
        Setting("breaker", section("breaker"), "stop asking who does not answer (default: never stop)", "{failures: 5}"),
        Setting("seed", integer(low=0, high=2**63 - 1), "of the random part of pauses", "7", default=_OUTSIDE.seed),
    ),
    place(
        "breaker",
        "a circuit breaker",
        "After so many failed tries in a row nothing is asked for a while; then one try decides. Rows meanwhile fail at once.",
        Setting("failures", integer(low=1, high=1_000_000), "failed tries in a row that open it", "10", required=True),
        Setting("open_ms", MS, "how long it stays open", "5000", default=_BREAKER.open_ms),
    ),
)
