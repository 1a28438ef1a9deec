"""topology.spec_models: what may be said of a model. spec_names → *spec_models* → spec."""

from __future__ import annotations

from stream_infer.topology.shape import (
    BOOLEAN,
    Setting,
    choice,
    either,
    integer,
    kinds,
    listing,
    number,
    place,
    section,
    text,
)
from stream_infer.topology.spec_names import FIELD, PATH, SECONDS

BATCH = Setting("batch", section("batch"), "how many rows one forward pass takes", "{rows_max: 512}")
VERSIONS = Setting(
    "versions_kept",
    integer(low=1, high=64),
    "versions of it can be published, promoted and rolled back while it runs (`stream-infer models`); so many stay in memory beside "
    "the one that answers, and a rollback to them is instant; a model that learns can be pinned to a version that it learned "
    "(default: no versions)",
    "1",
)
CACHE = Setting("cache", section("cache"), "rows that were answered before are answered from memory", "{rows_max: 100000, ttl_s: 3600}")
WORKERS = Setting("workers", section("workers"), "by whom its passes are run (default: a thread of the process)", "{where: process}")
INPUTS = Setting(
    "inputs",
    listing(either(FIELD, section("input")), at_least=1),
    "the columns of the model's input matrix, in order",
    "[hour, {one_hot: origin, values: [EWR, JFK]}]",
    required=True,
)
ARTIFACT_WORDS = "the path of a .safetensors file below the folder of the topology (or its URL, with `sha256`)"
SHA256 = Setting(
    "sha256",
    text(pattern=r"[0-9a-f]{64}", words="64 hexadecimal digits (lower case)"),
    "the digest that the artifact must have; it is checked before a byte is parsed",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
)
VARIANT = Setting(
    "batch_variant",
    choice("refuse", "allow"),
    "what becomes of a model whose answers to a row differ by more than 0.01 of the largest with the rows beside it",
    "allow",
    default="refuse",
)

MODELS = (
    place(
        "model.linear",
        "a linear model",
        "answer = intercept + Σ weight · input. It may learn while it serves.",
        Setting("kind", choice("linear"), "what the model is", "linear", required=True),
        INPUTS,
        Setting("artifact", PATH, f"its weights: {ARTIFACT_WORDS} (default: a learner starts from zero)", "models/ridge.safetensors"),
        SHA256,
        Setting(
            "learns",
            kinds("by", sgd="learns.sgd", rls="learns.rls", ftrl="learns.ftrl"),
            "makes it learn from the rows that a learn stage brings",
            "{by: sgd, rate: 0.01}",
        ),
        VERSIONS,
        BATCH,
        CACHE,
    ),
    place(
        "model.torch",
        "a torch model",
        "A PyTorch network: an architecture from the registry and its weights, or a trusted program (.pt2; .pt is deprecated).",
        Setting("kind", choice("torch"), "what the model is", "torch", required=True),
        INPUTS,
        Setting(
            "artifact",
            PATH,
            ARTIFACT_WORDS + ", or of a .pt2 or .pt file with `trusted` and `sha256`",
            "models/net.safetensors",
            required=True,
        ),
        Setting(
            "class",
            text(pattern=r"[a-z][a-z0-9_]{0,63}", words="the name of an architecture in the registry, such as mlp"),
            "the architecture; code is never named by a path",
            "mlp",
            default="mlp",
        ),
        SHA256,
        Setting("trusted", BOOLEAN, "a .pt2 file is a program: say here that you trust its author", "true", default=False),
        Setting("device", text(pattern=r"cpu|cuda(:[0-9]{1,2})?", words="cpu, cuda or cuda:0"), "where it runs", "cuda:0", default="cpu"),
        Setting(
            "precision",
            choice("float32", "bfloat16", "int8"),
            "in which it computes: int8 (CPU only) keeps the weights of its linear layers in one byte each",
            "bfloat16",
            default="float32",
        ),
        Setting(
            "compile",
            BOOLEAN,
            "on a GPU, in a process: compile the net while it already answers, and answer faster from then on",
            "true",
            default=False,
        ),
        VARIANT,
        VERSIONS,
        BATCH,
        CACHE,
        WORKERS,
    ),
    place(
        "model.table",
        "a table",
        "Answers that were computed beforehand: columns that a lookup stage takes are the outputs, as float32. A row without one is "
        "rejected, unless its input says what stands in (`missing`), or a `route` asks another model where the column has no value.",
        Setting("kind", choice("table"), "what the model is", "table", required=True),
        INPUTS,
    ),
    place(
        "cache",
        "cache",
        "Answers kept in the memory of each process, by the bytes of a row's inputs and the model's version; equal rows of one chunk are "
        "asked once. A deterministic run keeps none: a net computes a row a little otherwise in every batch.",
        Setting(
            "rows_max",
            integer(low=1, high=100_000_000),
            "how many answers are kept; of those that share a place, the one not asked for longest goes first",
            "100000",
            required=True,
        ),
        Setting("ttl_s", SECONDS, "how long an answer counts, in event time (default: until another takes its place)", "3600"),
    ),
    place(
        "batch",
        "batch",
        "The size of forward passes.",
        Setting(
            "rows_max",
            integer(low=1, high=65_536),
            "no batch is larger (default: the knee of the measured cost curve, at most 4096)",
            "512",
        ),
        Setting(
            "sizes",
            listing(integer(low=1, high=4096), at_least=1),
            "the only numbers of rows that a pass may have, ascending; missing rows are made of zeros (for models of fixed shapes)",
            "[16, 64, 256]",
        ),
        Setting("cost", FIELD, "a number, or an array whose length counts: what a row costs", "tokens"),
        Setting("cost_max", number(above=0, high=1e12), "with `cost`: the rows of a batch cost so much together at most", "8192"),
        Setting(
            "buckets",
            listing(number(above=0, high=1e12), at_least=1),
            "with `cost`: upper edges, ascending; rows of a batch lie between the same two, and each counts as the upper one",
            "[64, 128, 512]",
        ),
    ),
    place(
        "workers",
        "workers of a model",
        "By whom passes are run. A process of its own cannot take the topology with it when the model crashes, and computes beside it.",
        Setting(
            "where",
            choice("thread", "process"),
            "`thread`: threads that all such models share; `process`: processes, restarted when they end",
            "process",
            default="thread",
        ),
        Setting("count", integer(low=1, high=64), "how many, on each device", "2", default=1.0),
        Setting("threads", integer(low=1, high=256), "threads that compute one pass (CPU)", "4", default=1.0),
        Setting(
            "weight",
            number(above=0, high=1e6),
            "its share of the time of workers that several models want at once, against theirs",
            "3",
            default=1.0,
        ),
        Setting(
            "devices",
            listing(text(pattern=r"cuda:[0-9]{1,2}", words="cuda:0"), at_least=1),
            "with `where: process`: `count` workers on each of these instead of on `device`",
            "[cuda:0, cuda:1]",
        ),
        Setting(
            "pool",
            text(pattern=r"[a-z][a-z0-9_]{0,63}", words="a name"),
            "with `where: process`: models of the same pool share its processes (default: each has its own; those on a GPU share)",
            "small_nets",
        ),
        Setting(
            "pass_s_max",
            number(above=0, high=86_400),
            "with `where: process`: seconds after which a pass counts as hung and its worker is killed (default: 30)",
            "5",
        ),
        Setting(
            "start_s_max",
            number(above=0, high=86_400),
            "with `where: process`: seconds for a worker to load its models (default: 120)",
            "600",
        ),
        Setting(
            "restarts_max",
            integer(low=1, high=10_000),
            "with `where: process`: starts of a worker without an answer in between, after which all of it ends (default: 20)",
            "5",
        ),
    ),
    place(
        "learns.sgd",
        "learning by sgd",
        "Stochastic gradient descent on the squared loss.",
        Setting("by", choice("sgd"), "the algorithm", "sgd", required=True),
        Setting("rate", number(above=0, high=10), "step size", "0.01", default=0.01),
        Setting("l2", number(low=0, high=1e6), "pull of the weights towards zero", "1e-4", default=0.0),
    ),
    place(
        "learns.rls",
        "learning by rls",
        "Recursive least squares: the best fit of all rows so far; with an artifact, its weights are where it begins.",
        Setting("by", choice("rls"), "the algorithm", "rls", required=True),
        Setting("l2", number(low=0, high=1e9), "how many rows the artifact's weights (or zero) count as", "10000", default=0.0),
    ),
    place(
        "learns.ftrl",
        "learning by ftrl",
        "FTRL-Proximal on the logistic loss: for labels 0 and 1.",
        Setting("by", choice("ftrl"), "the algorithm", "ftrl", required=True),
        Setting("alpha", number(above=0, high=1e3), "step size at the start", "0.1", default=0.1),
        Setting("beta", number(low=0, high=1e3), "how slowly the steps shrink", "1.0", default=1.0),
        Setting("l1", number(low=0, high=1e6), "weights below this pull stay zero", "0.0", default=0.0),
        Setting("l2", number(low=0, high=1e6), "pull of the weights towards zero", "0.0", default=0.0),
    ),
    place(
        "input",
        "an input",
        "One entry of `inputs` that is not simply the name of a number.",
        Setting("name", FIELD, "a number: a field or a feature", "tail_delay_last_min", one_of_these=True),
        Setting("one_hot", FIELD, "a text field: one column per entry of `values`, 1 where it is equal", "origin", one_of_these=True),
        Setting("is_missing", FIELD, "1 where the field or feature has no value", "tail_delay_last_min", one_of_these=True),
        Setting("list", FIELD, "an array of `size` numbers, each an input", "pixels", one_of_these=True),
        Setting("numbers", FIELD, "a text of `size` numbers joined by `separator`, each an input", "data_point", one_of_these=True),
        Setting("floats32", FIELD, "bytes that are `size` little-endian float32 numbers, each an input", "payload", one_of_these=True),
        Setting(
            "output_of",
            text(names=("model",)),
            "what another model answers: its only output, or `size` of them",
            "embed",
            one_of_these=True,
        ),
        Setting("missing", number(), "with `name` or `output_of`: stands in for a missing value (default: the row is rejected)", "0"),
        Setting("values", listing(text(), at_least=1), "with `one_hot`: the texts that have a column", "[EWR, JFK, LGA]"),
        Setting(
            "size",
            integer(low=1, high=1_000_000),
            "with `list`, `numbers`, `floats32` or `output_of`: how many numbers; a row that has more or fewer is rejected",
            "784",
        ),
        Setting(
            "separator", text(pattern=r"[ -~]", words="one character"), "with `numbers`: what stands between them (default: a comma)", '";"'
        ),
    ),
)
