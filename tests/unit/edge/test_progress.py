"""Oracles: the expected text, and a small terminal that obeys the control sequences."""

from __future__ import annotations

import io
import re

import numpy as np

from stream_infer.edge.progress import Progress, block, clock, error_so_far, is_live, line, milliseconds
from stream_infer.edge.totals import ArmFigures, Snapshot

BOUNDS = np.array([0.01, 0.1, 1.0])


def snapshot(time_s: float, rows: int, counts: tuple[int, int, int, int], *, judged: int = 0) -> Snapshot:
    arms = (ArmFigures("eta", "net", rows * 3 // 4, judged, 15.0 * judged), ArmFigures("eta", "ridge", rows - rows * 3 // 4, 0, 0.0))
    return Snapshot(
        time_s=time_s,
        rows_in=rows + 100,
        rows_out=rows,
        rows_rejected=2,
        rows_in_flight=64,
        lag_rows=1_234,
        lag_seconds=0.45,
        commits=9,
        feedback=judged,
        latency_bounds=BOUNDS,
        latency_counts=np.array(counts, dtype=np.int64),
        arms=arms,
        baseline=("static", 18.0, 15.0) if judged else None,
        partitions_assigned=4,
    )


BEFORE = snapshot(100.0, 4_000, (0, 4_000, 0, 0))
NOW = snapshot(102.0, 8_000, (0, 8_000, 0, 0), judged=5_000)


class Terminal(io.StringIO):
    """What stands on the screen after cursor-up, carriage return and clear-below."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        rows: list[str] = [""]
        at = 0
        for part in re.split(r"(\x1b\[\d+A|\x1b\[J|\r|\n)", self.getvalue()):
            if part == "\n":
                at += 1
                rows += [""] * (at + 1 - len(rows))
            elif part.endswith("A") and part.startswith("\x1b"):
                at -= int(part[2:-1])
                assert at >= 0
            elif part == "\x1b[J":
                rows = [*rows[:at], ""]
            elif part not in ("\r", ""):
                assert rows[at] == ""
                rows[at] = part
        return rows[:-1]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_line_of_a_log() -> None:
    assert line(NOW, BEFORE, total=16_000) == (
        "8,100 of 16,000 (51 %) records, 2,000/s, 8,000 answered, latency p50 55 ms p99 99 ms, 2 rejected, "
        "error so far 15.00, 16.7 % below static (18.00)"
    )
    assert line(BEFORE, None) == "4,100 records, 0/s, 4,000 answered, lag 1,234 rows 0.5 s, latency p50 55 ms p99 99 ms, 2 rejected"


def test_the_block_of_a_terminal() -> None:
    assert block(NOW, BEFORE, total=16_000, seconds=65.0) == [
        "8,100 of 16,000 (51 %) records, 2,000 a second, 8,000 answered, 1:05, 0:03 to go",
        "  latency p50 55 ms, p99 99 ms; lag 1,234 rows, 0.5 s; in flight 64",
        "  9 commits, 5,000 feedback, 2 rejected; 4 partitions",
        "  net              ██████████████████░░░░░░  75.0 %  error 15.00",
        "  ridge            ██████░░░░░░░░░░░░░░░░░░  25.0 %",
        "  error so far 15.00, 16.7 % below static (18.00)",
    ]
    assert all(len(text) <= 40 for text in block(NOW, BEFORE, wide=40))
    assert block(snapshot(0.0, 0, (0, 0, 0, 0)), None)[1].startswith("  latency not yet known")


def test_pieces() -> None:
    assert [clock(s) for s in (7.9, 750, 3_723)] == ["0:07", "12:30", "1:02:03"]
    assert [milliseconds(s) for s in (0.0008, 0.042, 3.14)] == ["0.8 ms", "42 ms", "3.1 s"]
    assert error_so_far(BEFORE) == ""


def test_on_a_terminal_the_block_stands_once_however_often_it_is_drawn() -> None:
    terminal, now = Terminal(), Clock()
    progress = Progress(terminal, live=True, total=16_000, wide=80, clock=now)
    progress.show(BEFORE)
    progress.show(NOW)  # not yet due
    now.now = 1.0
    progress.show(NOW)
    progress.say("a worker joined")
    now.now = 2.0
    progress.finish(NOW)
    progress.say("done")
    assert terminal.screen() == ["a worker joined", *block(NOW, NOW, total=16_000, seconds=2.0), "done"]


def test_elsewhere_it_is_one_plain_line_every_five_seconds() -> None:
    stream, now = io.StringIO(), Clock()
    progress = Progress(stream, clock=now)
    progress.show(BEFORE)
    for second in range(1, 8):
        now.now = float(second)
        progress.show(NOW)
    assert stream.getvalue().splitlines() == ["0:00 " + line(BEFORE, None), "0:05 " + line(NOW, BEFORE)]
    assert "\x1b" not in stream.getvalue()


def test_a_phase_is_seen_while_it_lasts_and_leaves_one_line() -> None:
    terminal, stream = Terminal(), io.StringIO()
    with Progress(terminal, live=True, wide=80).phase("starting the broker"):
        pass
    assert re.fullmatch(r"starting the broker: 0\.\d s", terminal.screen()[0])
    with Progress(stream).phase("quick"):
        pass
    assert stream.getvalue() == ""


def test_a_stream_is_live_only_on_a_terminal_that_can() -> None:
    assert not is_live(io.StringIO())
