"""edge.call_setup: what a plan's calling stages need, made from its settings. plan, registry → *call_setup* → host, tests, trainset."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence

from stream_infer.edge.call_columns import Outcome, nothing_of
from stream_infer.edge.call_functions import Pooled, answer, here
from stream_infer.edge.call_outside import Loop, Outside
from stream_infer.edge.calls import Answer, Calls, Executor, Tally
from stream_infer.edge.redis_held import held
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.flow.ports import Answerer
from stream_infer.functions import Function, FunctionSettings
from stream_infer.online_settings import RedisLookupSettings
from stream_infer.topology.plan import CallStep, Plan


def calling_steps(plan: Plan) -> Iterator[CallStep]:
    """The steps of a plan that call a user's function."""
    steps = (step for section in plan.sections for step in section.steps if isinstance(step, CallStep))
    return (step for step in steps if isinstance(step.settings, FunctionSettings))


def function_settings(step: CallStep) -> FunctionSettings:
    """How such a step calls its function."""
    assert isinstance(step.settings, FunctionSettings), f"stage {step.name} calls no function"
    return step.settings


def redis_steps(plan: Plan) -> Iterator[tuple[CallStep, RedisLookupSettings]]:
    """The steps of a plan that look up in Redis."""
    for step in (step for section in plan.sections for step in section.steps if isinstance(step, CallStep)):
        if isinstance(step.settings, RedisLookupSettings):
            yield step, step.settings


def function_of(step: CallStep, functions: Mapping[str, Function]) -> Function:
    """The user's function of a step; EnvironmentMissing when nobody declares it, or when it is of the other sort (async or not)."""
    settings = function_settings(step)
    found = functions.get(settings.function)
    if found is None:
        raise EnvironmentMissing(
            f"stage {step.name}: there is no function `{settings.function}`",
            got=f"declared are: {', '.join(sorted(functions)) or 'none'}",
            expected="a name that an installed package or an admitted module declares",
            fix="add `--admit MODULE`, where MODULE has STREAM_INFER_FUNCTIONS = {'name': function}",
        )
    is_async = inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(getattr(found, "__call__", None))  # noqa: B004
    if is_async != (settings.outside is not None):
        raise EnvironmentMissing(
            f"stage {step.name}: `{settings.function}` is {'' if is_async else 'not '}an async function",
            expected="`async def` exactly where the stage has `outside`",
            fix="add `outside: {timeout_ms: 200}` to the stage" if is_async else "remove `outside`, or write the function with `async def`",
        )
    return found


def calls_of(plan: Plan, functions: Mapping[str, Function], admitted: Sequence[str] = (), *, strict: bool = False) -> Calls:
    """What runs the calls of a plan. Nothing starts before the first call. strict: a look-up that fails ends the run."""
    answers: dict[str, Answer] = {}
    executors: dict[str, Executor] = {}
    loop = Loop()
    for step, lookup in redis_steps(plan):
        from stream_infer.edge.redis_calls import RedisCalls  # here: topologies and commands that ask no Redis start without its client

        executors[step.name] = RedisCalls(step.name, lookup, strict=strict)
    for step in calling_steps(plan):
        settings, function = function_settings(step), function_of(step, functions)
        if settings.outside is not None:
            executors[step.name] = Outside(step, settings, function, loop)
        elif settings.workers:
            executors[step.name] = Pooled(step, settings, function, admitted)
        else:
            answers[step.name] = here(step, settings, function)
    return Calls(answers, executors)


def answerers(plan: Plan, functions: Mapping[str, Function]) -> dict[str, Answerer]:
    """What each stage with a function does, in the thread that asks: for tests without a broker, and training sets."""
    return {step.name: _answerer(step, function_settings(step), function_of(step, functions)) for step in calling_steps(plan)}


def lookups(plan: Plan) -> dict[str, Answerer]:
    """What each look-up in Redis does, in the thread that asks; one that fails ends the run: for training sets and replays."""
    from stream_infer.edge.redis_calls import asked

    return {step.name: asked(step.name, settings) for step, settings in redis_steps(plan)}


def held_lookups(plan: Plan, rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Answerer]:
    """The same where a test says what Redis holds, by stage, key and name."""
    return {step.name: held(settings, rows.get(step.name, {})) for step, settings in redis_steps(plan)}


def _answerer(step: CallStep, settings: FunctionSettings, function: Function) -> Answerer:
    if settings.outside is None:
        run = here(step, settings, function)
        return lambda call: run(call)[0]

    def outside(call: Call) -> CallDone:
        # A loop of its own for each call, so that nothing of one call is left for the next; the breaker starts closed.
        return asyncio.run(Outside(step, settings, function, Loop()).answered(call))[0]

    return outside


def stand_ins(plan: Plan, functions: Mapping[str, Function]) -> dict[str, Answerer]:
    """As answerers(), but what lies outside is not asked: its rows go on with nothing. For measuring what is our own."""
    return held_lookups(plan, {}) | {
        step.name: _nothing(step) if function_settings(step).outside is not None else _answerer(step, function_settings(step), function)
        for step, function in [(step, function_of(step, functions)) for step in calling_steps(plan)]
    }


def _nothing(step: CallStep) -> Callable[[Call], CallDone]:
    return lambda call: answer(call, step, function_settings(step), Outcome(nothing_of(step.gives, call.count), {}, {}), Tally())[0]
