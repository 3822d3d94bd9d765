"""Users of a service: they ask through the gateway all the time and keep what they were told."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx

PAUSE = 0.02


class Users:
    """What was answered, by status and version; an error counts under its own name.

    Args:
        url: The gateway.
        service: The service.
        row: What they send, as v1 instances carry it.
    """

    def __init__(self, url: str, *, service: str, row: dict[str, Any]) -> None:
        self._url = f"{url}/v1/models/{service}:predict"
        self._body = {"instances": [row]}
        self._answers: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def answers(self) -> Counter[str]:
        """All answers so far, for example `{"200 version 2": 812}`."""
        with self._lock:
            return Counter(self._answers)

    def since(self, before: Counter[str]) -> Counter[str]:
        return self.answers - before

    def one(self) -> str:
        """Ask once, and return what was answered."""
        with httpx.Client(trust_env=False, timeout=30) as client:
            return self._ask(client)

    def version(self) -> int:
        """Return the version that answers now."""
        told = self.one()
        assert told.startswith("200 version "), told
        return int(told.removeprefix("200 version "))

    @contextlib.contextmanager
    def asking(self, *, times: int = 1) -> Iterator[None]:
        """Ask over kept connections and over fresh ones until the block ends.

        Args:
            times: By how many times three users at once; blocks may be in one another.
        """
        over = threading.Event()
        threads = [
            threading.Thread(target=self._go_on, args=(kept, over))
            for kept in (True, True, False) * times
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _go_on(self, kept: bool, over: threading.Event) -> None:
        client = httpx.Client(trust_env=False, timeout=30)
        while not over.wait(PAUSE):
            told = self._ask(client)
            with self._lock:
                self._answers[told] += 1
            if not kept:
                client.close()
                client = httpx.Client(trust_env=False, timeout=30)
        client.close()

    def _ask(self, client: httpx.Client) -> str:
        try:
            response = client.post(self._url, json=self._body)
        except httpx.HTTPError as error:
            return repr(error)
        try:
            return f"{response.status_code} version {response.json()['model_version']}"
        except (ValueError, LookupError, TypeError):
            # A gateway's own answers are no JSON.
            return f"{response.status_code} {response.text[:200]}"


def only_ok(answers: Counter[str]) -> None:
    """Every answer was a 200, and there were enough of them to mean something."""
    assert sum(answers.values()) > 100, answers
    assert {told.partition(" version ")[0] for told in answers} == {"200"}, answers
