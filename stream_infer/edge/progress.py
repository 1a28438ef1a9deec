"""edge.progress: the live view in the terminal. telemetry → *progress* → stderr.

On a tty one block rewrites itself; anywhere else a plain line is logged every few seconds. What is shown is made from two snapshots
by functions without a clock; only the thin class at the end writes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from stream_infer.edge.totals import ArmFigures, Snapshot

LINE_EVERY_S = 5.0
BLOCK_EVERY_S = 0.5
QUIET_S = 2.0
WIDE_MAX = 100
ARMS_SHOWN = 6
BAR = 24
UP, CLEAR, HIDE, SHOW = "\x1b[{}A", "\x1b[J", "\x1b[?25l", "\x1b[?25h"


def line(now: Snapshot, before: Snapshot | None, *, total: int | None = None) -> str:
    """One line for a log: records read and answered, rate, lag (where the end is not known), latency, error so far."""
    parts = [
        f"{now.rows_in:,}{_of(now, total)} records",
        f"{records_per_second(now, before):,.0f}/s",
        f"{now.rows_out:,} answered",
    ]
    if total is None:
        parts.append(f"lag {now.lag_rows:,} rows {now.lag_seconds:.1f} s")
    p50, p99 = now.latency_seconds(0.5, before), now.latency_seconds(0.99, before)
    if p50 is not None and p99 is not None:
        parts.append(f"latency p50 {milliseconds(p50)} p99 {milliseconds(p99)}")
    if now.rows_rejected:
        parts.append(f"{now.rows_rejected:,} rejected")
    wrong = error_so_far(now)
    if wrong:
        parts.append(wrong)
    return ", ".join(parts)


def block(now: Snapshot, before: Snapshot | None, *, total: int | None = None, seconds: float = 0.0, wide: int = 80) -> list[str]:
    """The lines of the live view, each at most `wide` columns. total: rows expected, if known; seconds: since the start."""
    out = [_first(now, before, total, seconds)]
    p50, p99 = now.latency_seconds(0.5, before), now.latency_seconds(0.99, before)
    latency = "latency not yet known" if p50 is None or p99 is None else f"latency p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"
    out.append(f"  {latency}; lag {now.lag_rows:,} rows, {now.lag_seconds:.1f} s; in flight {now.rows_in_flight:,}")
    paused = f" ({now.partitions_paused} paused)" if now.partitions_paused else ""
    counts = f"{now.commits:,} commits, {now.feedback:,} feedback, {now.rows_rejected:,} rejected"
    out.append(f"  {counts}; {now.partitions_assigned} partitions{paused}")
    pulls = sum(arm.pulls for arm in now.arms)
    out += [_arm(arm, pulls, before) for arm in now.arms[:ARMS_SHOWN]]
    if len(now.arms) > ARMS_SHOWN:
        out.append(f"  and {len(now.arms) - ARMS_SHOWN} more arms")
    wrong = error_so_far(now)
    if wrong:
        out.append(f"  {wrong}")
    return [text[:wide] for text in out]


def _first(now: Snapshot, before: Snapshot | None, total: int | None, seconds: float) -> str:
    rate = records_per_second(now, before)
    head = f"{now.rows_in:,}{_of(now, total)} records, {rate:,.0f} a second, {now.rows_out:,} answered, {clock(seconds)}"
    if total and rate > 0 and now.rows_in < total:
        head += f", {clock((total - now.rows_in) / rate)} to go"
    return head


def _of(now: Snapshot, total: int | None) -> str:
    return f" of {total:,} ({100 * min(now.rows_in / total, 1):.0f} %)" if total else ""


def _arm(arm: ArmFigures, pulls: int, before: Snapshot | None) -> str:
    """Its share of the rows since `before`, as a bar and in percent, and its error on the rows whose outcome has come."""
    earlier = {(a.stage, a.arm): a.pulls for a in before.arms} if before else {}
    fresh = pulls - sum(earlier.values())
    share = (arm.pulls - earlier.get((arm.stage, arm.arm), 0)) / fresh if fresh > 0 else arm.pulls / max(pulls, 1)
    filled = round(share * BAR)
    wrong = f"  error {arm.absolute_error / arm.labelled:.2f}" if arm.labelled else ""
    return f"  {arm.arm[:16]:<16} {'█' * filled}{'░' * (BAR - filled)} {100 * share:5.1f} %{wrong}"


def error_so_far(now: Snapshot) -> str:
    """Mean absolute error of all judged answers and how it compares with the baseline's on the same rows; empty before the first."""
    labelled = sum(arm.labelled for arm in now.arms)
    if labelled == 0:
        return ""
    mine = sum(arm.absolute_error for arm in now.arms) / labelled
    if now.baseline is None or now.baseline[1] <= 0:
        return f"error so far {mine:.2f}"
    name, theirs, ours = now.baseline
    gain = 100 * (1 - ours / theirs)
    return f"error so far {mine:.2f}, {abs(gain):.1f} % {'below' if gain >= 0 else 'above'} {name} ({theirs:.2f})"


def records_per_second(now: Snapshot, before: Snapshot | None) -> float:
    """Records read a second between two snapshots; 0 without an earlier one."""
    if before is None or now.time_s <= before.time_s:
        return 0.0
    return (now.rows_in - before.rows_in) / (now.time_s - before.time_s)


def milliseconds(seconds: float) -> str:
    """A latency: 0.8 ms, 42 ms, 3.1 s."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def clock(seconds: float) -> str:
    """0:07, 12:30, 1:02:03."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class Progress:
    """Writes the live view to a stream (stderr, as a rule). Cheap to call: it draws only when it is time to.

    live: a tty that rewrites; decided from the stream when None. NO_COLOR does not matter, for it uses no colour.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        total: int | None = None,
        live: bool | None = None,
        wide: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """total: rows expected, if known; wide: columns, the terminal's when None; clock: seconds, any origin."""
        self._stream = stream
        self._total = total
        self._live = is_live(stream) if live is None else live
        self._wide = wide
        self._clock = clock
        self._began = clock()
        self._drawn_at = float("-inf")
        self._before: Snapshot | None = None
        self._height = 0
        self._lock = threading.Lock()

    def due(self) -> bool:
        """Whether `show` would draw now; spares the caller a snapshot."""
        return self._clock() - self._drawn_at >= (BLOCK_EVERY_S if self._live else LINE_EVERY_S)

    def show(self, now: Snapshot) -> None:
        """Draws, if it is time to."""
        if self.due():
            self._draw(now)

    def finish(self, now: Snapshot) -> None:
        """Draws the last state whatever the time, and leaves it standing."""
        self._draw(now)
        with self._lock:
            self._height = 0

    def say(self, words: str) -> None:
        """A line that stays, above the live view."""
        with self._lock:
            self._write([words])
            self._height = 0

    @contextmanager
    def phase(self, words: str) -> Iterator[None]:
        """Shows that something goes on that reports nothing itself: `starting the broker … 7 s`. A log hears of what takes over 2 s."""
        began = self._clock()
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(words, began, done), name="progress", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()
            took = self._clock() - began
            if self._live or took >= QUIET_S:
                self.say(f"{words}: {took:.1f} s")

    def _tick(self, words: str, began: float, done: threading.Event) -> None:
        wait_s = BLOCK_EVERY_S if self._live else QUIET_S
        while not done.wait(wait_s):
            took = self._clock() - began
            if self._live:
                with self._lock:
                    self._height = self._write([f"{words} \u2026 {took:.0f} s"])
            else:
                self.say(f"{words} \u2026 {took:.0f} s so far")
                wait_s = LINE_EVERY_S

    def _draw(self, now: Snapshot) -> None:
        with self._lock:
            self._drawn_at = self._clock()
            seconds = self._drawn_at - self._began
            if self._live:
                self._height = self._write(block(now, self._before, total=self._total, seconds=seconds, wide=self._columns()))
            else:
                self._write([f"{clock(seconds)} {line(now, self._before, total=self._total)}"])
            self._before = now

    def _write(self, lines: list[str]) -> int:
        """Puts lines where the last block stood; returns how many. One write call: a terminal then shows no half block."""
        start = (UP.format(self._height) + "\r" + CLEAR) if self._live and self._height else ""
        self._stream.write(start + "".join(text + "\n" for text in lines))
        self._stream.flush()
        return len(lines)

    def _columns(self) -> int:
        if self._wide is not None:
            return self._wide
        try:
            return min(os.get_terminal_size(self._stream.fileno()).columns - 1, WIDE_MAX)
        except (OSError, ValueError):
            return 80


def is_live(stream: TextIO) -> bool:
    """Whether the stream is a terminal that understands cursor movement."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
