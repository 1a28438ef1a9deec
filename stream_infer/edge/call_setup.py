"""edge.call_setup: what a plan's calling stages need, made from its settings. plan, registry → *call_setup* → host, tests, trainset."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence

from stream_infer.edge.call_columns import Outcome, nothing_of
from stream_infer.edge.call_functions import Pooled, answer, here
from stream_infer.edge.call_outside import Loop, Outside
from stream_infer.edge.calls import Answer, Calls, Executor, Tally
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.flow.ports import Answerer
from stream_infer.functions import Function, FunctionSettings
from stream_infer.topology.plan import CallStep, Plan


def calling_steps(plan: Plan) -> Iterator[CallStep]:
    """The call steps of a plan."""
    return (step for section in plan.sections for step in section.steps if isinstance(step, CallStep))


def function_of(step: CallStep, functions: Mapping[str, Function]) -> Function:
    """The user's function of a step; EnvironmentMissing when nobody declares it, or when it is of the other sort (async or not)."""
    settings = step.settings
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


def calls_of(plan: Plan, functions: Mapping[str, Function], admitted: Sequence[str] = ()) -> Calls:
    """What runs the calls of a plan. Nothing starts before the first call."""
    answers: dict[str, Answer] = {}
    executors: dict[str, Executor] = {}
    loop = Loop()
    for step in calling_steps(plan):
        settings, function = step.settings, function_of(step, functions)
        if settings.outside is not None:
            executors[step.name] = Outside(step, settings, function, loop)
        elif settings.workers:
            executors[step.name] = Pooled(step, settings, function, admitted)
        else:
            answers[step.name] = here(step, settings, function)
    return Calls(answers, executors)


def answerers(plan: Plan, functions: Mapping[str, Function]) -> dict[str, Answerer]:
    """What each stage does, in the thread that asks: for tests without a broker, and training sets."""
    return {step.name: _answerer(step, step.settings, function_of(step, functions)) for step in calling_steps(plan)}


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
    return {
        step.name: _nothing(step) if step.settings.outside is not None else _answerer(step, step.settings, function)
        for step, function in [(step, function_of(step, functions)) for step in calling_steps(plan)]
    }


def _nothing(step: CallStep) -> Callable[[Call], CallDone]:
    return lambda call: answer(call, step, step.settings, Outcome(nothing_of(step.gives, call.count), {}, {}), Tally())[0]
