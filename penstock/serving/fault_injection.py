"""The model server with a fault put in on purpose.

`python -m penstock.serving.fault_injection --fault NAME`

For proving that a rollout notices: never for users. It takes the model server's own options. The
release step's probe is answered as by a sound server, so that the fault meets traffic. Standard
error and the metadata say which fault it has.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

from penstock.errors import InputError
from penstock.serving import launch
from penstock.serving.request_headers import SMOKE

if TYPE_CHECKING:
    import numpy as np

    from penstock.records.model import Model
    from penstock.serving.asgi import App, Receive, Scope, Send
    from penstock.serving.prediction import Scorer
    from penstock.serving.request_log import RequestLog
    from penstock.serving.service import Service

ERROR_SHARE = 0.05
SLOW_FACTOR = 3.0
SLOW_FLOOR = 0.02
"""Seconds that a slow answer takes at least, so that a model of microseconds is slow too."""
LEAK_STEP = 2 << 20
LEAK_BOUND = 300 << 20
WRONG_SHARE = 0.5
WRONG_POOL = 100
"""Scores that are handed out to other rows: the first that were given, which are sound."""
LEVELS_SEEN = 20
"""Values after which the commonest is known well enough to be refused."""


class Faulty:
    """A scorer whose scores go through something else before they are answered."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._chance = random.Random(0)  # noqa: S311 - each run must fail in the same way

    @property
    def record(self) -> Model:
        """What is known of the model."""
        return self._scorer.record

    @property
    def digest(self) -> str:
        """Digest of the model's folder."""
        return self._scorer.digest

    @property
    def runtime(self) -> str:
        """What computes the scores."""
        return self._scorer.runtime

    def scores_of(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Return the faulty scores."""
        self.before(columns)
        return self.after(self._scorer.scores_of(columns), columns)

    def labels_of(self, scores: np.ndarray) -> np.ndarray:
        """Return the labels that the scores amount to."""
        return self._scorer.labels_of(scores)

    def before(self, columns: Mapping[str, Any]) -> None:
        """Act before rows are scored."""

    def after(self, scores: np.ndarray, columns: Mapping[str, Any]) -> np.ndarray:  # noqa: ARG002
        """Return what becomes of the scores."""
        return scores


class Errors(Faulty):
    """5 % of requests fail."""

    def before(self, columns: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Fail now and then."""
        if self._chance.random() < ERROR_SHARE:
            raise RuntimeError("fault injection: this request fails on purpose")


class Leak(Faulty):
    """Each request leaves 2 MiB behind; at 300 MiB the process is killed, as for want of memory."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer)
        self._held: list[bytes] = []

    def before(self, columns: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Hold more."""
        # Filled, because untouched memory is not taken.
        self._held.append(b"\1" * LEAK_STEP)
        if len(self._held) * LEAK_STEP >= LEAK_BOUND:
            os.kill(os.getpid(), signal.SIGKILL)


class Shifted(Faulty):
    """Scores are higher: by 1 in the logit, for a regression by half its standard deviation."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer)
        self._seen: list[float] = []

    def after(self, scores: np.ndarray, columns: Mapping[str, Any]) -> np.ndarray:  # noqa: ARG002
        """Shift."""
        import numpy as np

        if self.record.task == "regression":
            self._seen = (self._seen + scores.tolist())[-1000:]
            shifted: np.ndarray = scores + 0.5 * float(np.std(self._seen))
            return shifted
        odds = np.atleast_2d(scores.T).T.copy()
        if self.record.task == "binary":
            odds = np.column_stack([1 - odds[:, 0], odds[:, 0]])
        odds[:, -1] *= np.e
        shares: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
        return shares[:, -1] if self.record.task == "binary" else shares


class Constant(Faulty):
    """Every row gets the score of the first row that was ever scored."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer)
        self._first: np.ndarray | None = None

    def after(self, scores: np.ndarray, columns: Mapping[str, Any]) -> np.ndarray:  # noqa: ARG002
        """Repeat the first score."""
        if self._first is None:
            self._first = scores[:1].copy()
        return self._first.repeat(len(scores), axis=0)


class RefusesCategory(Faulty):
    """Requests with the commonest value of the first text column are refused with 422."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer)
        self._column = next((c.name for c in self.record.columns if c.type == "string"), "")
        if not self._column:
            raise InputError("the model has no text column", where="--fault refuses-a-category")
        self._seen: Counter[str] = Counter()

    def before(self, columns: Mapping[str, Any]) -> None:
        """Refuse the commonest value once it is known."""
        from penstock.serving.request_errors import RequestError

        values = columns[self._column]
        if self._seen.total() < LEVELS_SEEN:
            self._seen.update(value for value in values if value is not None)
            return
        refused = self._seen.most_common(1)[0][0]
        if refused in values:
            raise RequestError(
                f'column "{self._column}": the value "{refused}" is rejected (fault injection)',
                status=422,
            )


class WrongLater(Faulty):
    """Half of the rows get the score of another row: the same distribution, a worse model.

    Which rows depends on their values alone. Nothing shows it but labels.
    """

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer)
        self._pool: list[np.ndarray] = []

    def after(self, scores: np.ndarray, columns: Mapping[str, Any]) -> np.ndarray:
        """Swap scores."""
        result = scores.copy()
        for row in range(len(scores)):
            values = repr([columns[column.name][row] for column in self.record.columns])
            draw = crc32(values.encode())
            if len(self._pool) < WRONG_POOL:
                self._pool.append(scores[row])
            elif draw % 1000 < WRONG_SHARE * 1000:
                result[row] = self._pool[draw // 1000 % WRONG_POOL]
        return result


class FaultInjectionApp:
    """The application: sound for the release step's probe, faulty for everybody else.

    Args:
        service: The sound service.
        request_log: What is kept of requests, whoever answers them.
        fault: What its scorer becomes.
        slow: Whether answers take three times as long.
        crash_after: Seconds from when it listens until it crashes; None: it does not.
    """

    def __init__(
        self,
        service: Service,
        request_log: RequestLog,
        *,
        fault: Callable[[Scorer], Scorer],
        slow: bool,
        crash_after: float | None,
    ) -> None:
        from penstock.serving.app import InferenceApp

        self._rollout_key = request_log.rollout_key
        self._sound = InferenceApp(service, request_log)
        self._faulty = InferenceApp(replace(service, scorer=fault(service.scorer)), request_log)
        self._slow = slow
        self._crash_after = crash_after

    def drain(self) -> None:
        """Ask clients to leave."""
        self._sound.drain()
        self._faulty.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""
        if scope["type"] == "lifespan" and self._crash_after is not None:
            timer = threading.Timer(self._crash_after, _crash)
            timer.daemon = True
            timer.start()
        if scope["type"] != "http" or self._is_probe(scope):
            await self._sound(scope, receive, send)
        elif self._slow and scope["method"] == "POST":
            await _slowly(self._faulty, scope, receive, send)
        else:
            await self._faulty(scope, receive, send)

    def _is_probe(self, scope: Scope) -> bool:
        value = dict(scope["headers"]).get(SMOKE.encode(), b"")
        return self._rollout_key.matches(value)


FAULTS: Mapping[str, Callable[[Any], Any]] = {
    "errors": Errors,
    "slow": Faulty,
    "crash-at-start": Faulty,
    "crash-later": Faulty,
    "leak": Leak,
    "shifted-scores": Shifted,
    "constant-scores": Constant,
    "refuses-a-category": RefusesCategory,
    "wrong-later": WrongLater,
}


def main(arguments: Sequence[str]) -> int:
    """Serve with a fault; return the exit code."""
    parser = launch.parser(
        "python -m penstock.serving.fault_injection",
        "Serve one model with a fault put in on purpose.",
    )
    parser.add_argument("--fault", required=True, choices=FAULTS, help="what goes wrong")
    parser.add_argument(
        "--after", type=float, default=10, help="crash-later: seconds until then (%(default)s)"
    )
    options = parser.parse_args(arguments)
    fault = str(options.fault)
    _say(f"FAULT INJECTION: this server has the fault {fault!r}. Never give it real traffic.")
    if fault == "crash-at-start":
        _say("error: fault injection: the server ends at its start, on purpose")
        return 1

    def build(service: Service, request_log: RequestLog) -> FaultInjectionApp:
        return FaultInjectionApp(
            service,
            request_log,
            fault=FAULTS[fault],
            slow=fault == "slow",
            crash_after=options.after if fault == "crash-later" else None,
        )

    return launch.run(options, build=build, notes={"fault_injection": fault})


def _crash() -> None:
    _say("fault injection: the server crashes now, on purpose")
    os._exit(1)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def _slowly(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    started = time.perf_counter()

    async def later(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            taken = time.perf_counter() - started
            await asyncio.sleep(max((SLOW_FACTOR - 1) * taken, SLOW_FLOOR))
        await send(message)

    await app(scope, receive, later)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
