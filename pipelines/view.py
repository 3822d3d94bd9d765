"""The console: one line for each step of a run, and one for each rule of a decision."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

from penstock.common.progress import MARK
from penstock.redaction import redact

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from penstock.gate.evaluation import Evaluation
    from penstock.records.decision import Decision, RuleResult

_NONE: Mapping[str, str] = {}

State = Literal["waiting", "running", "done", "failed"]

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"INFO - Executing task '([^']+)'$")
_FINISHED = re.compile(r"(?:INFO|ERROR) - Task '([^']+)' finished with status (SUCCESS|FAILURE)$")
# Not a bare `Error:`: Argo ends the log of a failed step with `Error: exit status 1`.
_RAISED = re.compile(
    r"^\s*(?:penstock\.errors\.\w+|(?:\w+\.)*(?:\w+Error|\w*(?:Exception|Interrupt))): (.+)$"
)
# A line of the library glog at its level F.
_FATAL = re.compile(r"^F\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] (.+)$")


def raised_in(line: str) -> str:
    """Return the message of the exception that a line of a log ends with, or nothing."""
    raised = _RAISED.search(_COLOURS.sub("", line))
    return raised[1] if raised else ""


def fatal_in(line: str) -> str:
    """Return what Kubeflow's driver or launcher ends a log with, or nothing.

    That the step's own program failed is not worth a line: it has said why.
    """
    ended = _FATAL.search(line)
    return "" if ended is None or "exit status" in ended[1] else ended[1]


@dataclass
class Step:
    """One task of the pipeline and its state."""

    name: str
    state: State = "waiting"
    began: float = 0.0
    took: float = 0.0
    figure: str = ""
    raised: str = ""

    def seconds(self) -> float:
        """Return how long the step took, or has taken so far."""
        return time.monotonic() - self.began if self.state == "running" else self.took

    @property
    def title(self) -> str:
        """The step's name for people."""
        return self.name.replace("-", " ").capitalize()


class RunView:
    """Follows a run by the lines that kfp.local writes, and draws it.

    Args:
        console: Where to draw. On a terminal the lines are redrawn in place; elsewhere each step's
            line is printed when the step ends.
        steps: The names of the expected tasks, in order.
        quiet: Tasks that are shown only if they fail.
        endings: Tasks that fail to end a run that was refused or rolled back, with their titles;
            shown only if they ran, and never as failed.
    """

    def __init__(
        self,
        console: Console,
        *,
        steps: Sequence[str],
        quiet: Sequence[str] = (),
        endings: Mapping[str, str] = _NONE,
    ) -> None:
        self._console = console
        self._quiet = (*quiet, *endings)
        self._endings = endings
        self._live: Live | None = None
        self.steps = [Step(name) for name in steps]

    def __enter__(self) -> RunView:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(
                get_renderable=self._table, console=self._console, refresh_per_second=8
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def line(self, text: str) -> None:
        """Take one line of the raw log, without colours."""
        if started := _STARTED.search(text):
            self._start(started[1])
        elif finished := _FINISHED.search(text):
            self._finish(finished[1], ok=finished[2] == "SUCCESS")
        elif MARK in text:
            self._note(text.split(MARK, 1)[1])
        elif raised := raised_in(text):
            self._running_or_last().raised = raised

    def see(self, name: str, *, state: State, seconds: float = 0.0, figure: str = "") -> None:
        """Set the state of a step from elsewhere than a log; the same state again changes nothing.

        Args:
            name: The step.
            state: Its state.
            seconds: How long it took, once it is over.
            figure: What to show beside it.
        """
        step = self._step(name)
        if step.state == state:
            return
        step.began = time.monotonic()
        step.state = state
        step.took = seconds
        step.figure = figure
        if state in ("done", "failed"):
            self._print(step)

    def failed(self) -> Step | None:
        """Return the first step that failed, or None."""
        return next((step for step in self.steps if step.state == "failed"), None)

    def _step(self, name: str) -> Step:
        step = next((step for step in self.steps if step.name == name), None)
        if step is None:
            step = Step(name)
            self.steps.append(step)
        return step

    def _start(self, name: str) -> None:
        step = self._step(name)
        step.began = time.monotonic()
        step.state = "running"

    def _finish(self, name: str, *, ok: bool) -> None:
        step = next(step for step in self.steps if step.name == name)
        step.took = step.seconds()
        step.state = "done" if ok else "failed"
        if not ok:
            step.figure = step.raised or "see the log"
        self._print(step)

    def _print(self, step: Step) -> None:
        if self._live is None and self._shown(step):
            self._console.print(self._plain(step), highlight=False, markup=False, soft_wrap=True)

    def _note(self, text: str) -> None:
        self._running_or_last().figure = text

    def _running_or_last(self) -> Step:
        touched = [step for step in self.steps if step.state != "waiting"]
        running = [step for step in touched if step.state == "running"]
        return (running or touched or self.steps)[-1]

    def _shown(self, step: Step) -> bool:
        return step.name not in self._quiet or step.state == "failed"

    def _plain(self, step: Step) -> str:
        mark = {"done": "ok    ", "failed": "FAILED", "running": "...   "}.get(step.state, "-     ")
        name = f"{mark}  {step.title:<18}"
        if step.state == "failed" and step.name in self._endings:
            name = f"{self._endings[step.name].upper():<26}"
        return f"{name} {step.seconds():7.1f} s  {step.figure}".rstrip()

    def _title(self, step: Step) -> str:
        return self._endings.get(step.name, step.title)

    def _table(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        marks = {
            "waiting": ("·", "dim"),
            "running": ("⠿", "cyan"),
            "done": ("✓", "green"),
            "failed": ("✗", "red"),
        }
        table = Table.grid(padding=(0, 2))
        for step in filter(self._shown, self.steps):
            mark, style = marks[step.state]
            if step.state == "failed" and step.name in self._endings:
                mark, style = "■", "yellow"
            seconds = "" if step.state == "waiting" else f"{step.seconds():.1f} s"
            table.add_row(
                Text(mark, style=style),
                Text(self._title(step), style="dim" if step.state == "waiting" else ""),
                Text(seconds, justify="right", style="dim"),
                Text(step.figure or ("running" if step.state == "running" else "")),
            )
        return table


class LogTee(io.TextIOBase):
    """A stand-in for standard output: every line goes to the raw log and to the view, redacted."""

    def __init__(self, log: TextIO, view: RunView) -> None:
        self._log = log
        self._view = view
        self._partial = ""

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Take some text; whole lines are passed on without terminal colours."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            clean = redact(_COLOURS.sub("", line))
            self._log.write(clean + "\n")
            self._view.line(clean)
        self._log.flush()
        return len(text)


_VERDICTS = {"pass": "pass", "fail": "FAIL", "not applicable": "n/a"}


def rule_lines(decision: Decision) -> Iterator[str]:
    """Yield a line for each rule, failures first: `FAIL  warn   slices: …`."""
    for rule in decision.ordered:
        yield _line(rule)


def beside_lines(evaluation: Evaluation | None) -> Iterator[str]:
    """Yield the rules' sentences that stand beside the verdict, for example on each class."""
    if evaluation is not None:
        yield from evaluation.sentences()


def _line(rule: RuleResult) -> str:
    return f"{_VERDICTS[rule.verdict]:<4}  {rule.severity:<5}  {rule.rule}: {rule.sentence}"
