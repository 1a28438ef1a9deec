"""topology.mermaid: a plan as a Mermaid flowchart, which GitHub and most editors draw. build → *mermaid* → cli explain --mermaid."""

from __future__ import annotations

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
        frames += _frame(section, number)
        arrows += _arrows(plan, section, number, topics)
    nodes = [f'  {node}[("{topic}")]' for topic, node in topics.items()]
    return "\n".join(["flowchart LR", *nodes, *frames, *arrows]) + "\n"


def _frame(section: SectionPlan, number: int) -> list[str]:
    boxes = [f'    s{number}_{i}["{step.name}"]' for i, step in enumerate(section.steps)]
    return [f'  subgraph s{number}["{section.name}: {section.partitions} tasks"]', *boxes, "  end"]


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
