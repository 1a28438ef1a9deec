"""topology.mermaid: a plan as a Mermaid flowchart, which GitHub and most editors draw. build → *mermaid* → cli explain --mermaid."""

from __future__ import annotations

from stream_infer.topology.explain_models import asked
from stream_infer.topology.plan import (
    DecideStep,
    ExplainStep,
    FeatureStep,
    FeedbackStep,
    LearnStep,
    LookupStep,
    Plan,
    RepartitionStep,
    SectionPlan,
    ShadowStep,
)


def mermaid(plan: Plan) -> str:
    """Topics are cylinders, steps are boxes, sections are frames; dotted arrows only update state."""
    topics: dict[str, str] = {}
    frames: list[str] = []
    arrows: list[str] = []
    for number, section in enumerate(plan.sections):
        frames += _frame(plan, section, number)
        arrows += _arrows(plan, section, number, topics)
    nodes = [f'  {node}[("{topic}")]' for topic, node in topics.items()]
    return "\n".join(["flowchart LR", *nodes, *frames, *arrows]) + "\n"


def _frame(plan: Plan, section: SectionPlan, number: int) -> list[str]:
    lines = [f'  subgraph s{number}["{section.name}: {section.partitions} tasks"]']
    for i, step in enumerate(section.steps):
        lines.append(f'    s{number}_{i}["{step.name}"]')
        if isinstance(step, DecideStep):
            lines += _models(plan, step, f"s{number}_{i}")
    return [*lines, "  end"]


def _models(plan: Plan, step: DecideStep, here: str) -> list[str]:
    """What a step asks of models that ask others: answers go along the arrows. Composed models are hexagons."""
    arrows = asked(plan, step)
    names = list(dict.fromkeys(name for _, _, name in arrows))
    node = {name: f"{here}_{place}" for place, name in enumerate(names)}
    shapes = [f'    {node[name]}{{{{"{name}"}}}}' if name in plan.composed else f'    {node[name]}(["{name}"])' for name in names]
    drawn = []
    for who, label, whom in arrows:
        line = "-.->" if label in ("shadow", "fallback") else "-->"
        drawn.append(f"    {node[whom]} {line}{f'|{_escaped(label)}|' if label else ''} {node.get(who, here)}")
    return shapes + drawn


def _escaped(label: str) -> str:
    return '"' + label.replace('"', "'").replace("<", "#lt;").replace(">", "#gt;") + '"'


def _arrows(plan: Plan, section: SectionPlan, number: int, topics: dict[str, str]) -> list[str]:
    def node(stream: str) -> str:
        topic = plan.streams[stream].topic
        return topics.setdefault(topic, f"t{len(topics)}")

    arrows = [f"  {node(section.flowing)} --> s{number}_0"]
    for i, step in enumerate(section.steps):
        here = f"s{number}_{i}"
        if i and not isinstance(step, ExplainStep | ShadowStep | FeedbackStep | LearnStep):
            arrows.append(f"  s{number}_{i - 1} --> {here}")
        if isinstance(step, FeatureStep) and step.kept_from != section.flowing:
            arrows.append(f"  {node(step.kept_from)} -.-> {here}")
        elif isinstance(step, LookupStep):
            arrows.append(f"  {node(step.table)} -.-> {here}")
        elif isinstance(step, RepartitionStep):
            arrows.append(f"  {here} -->|by {step.by}| {node(step.stream)}")
        elif isinstance(step, DecideStep) and step.emits_to is not None:
            arrows.append(f"  {here} --> {node(step.emits_to)}")
        elif isinstance(step, ExplainStep | ShadowStep):
            decided = next(j for j, other in enumerate(section.steps) if other.name == step.decides)
            arrows += [f"  s{number}_{decided} --> {here}", f"  {here} --> {node(step.to)}"]
        elif isinstance(step, FeedbackStep):
            decided = next(j for j, other in enumerate(section.steps) if other.name == step.decides)
            arrows += [f"  s{number}_{decided} --> {here}", f"  {node(step.feedback)} -.-> {here}", f"  {here} --> {node(step.joined_to)}"]
        elif isinstance(step, LearnStep):
            arrows.append(f"  {here} --> {node('models')}")
    for told in [source.stream for source in section.inputs if source.stream in ("models", "changes")]:
        decided = next(j for j, step in enumerate(section.steps) if isinstance(step, DecideStep))
        arrows.append(f"  {node(told)} -.-> s{number}_{decided}")
    return arrows
