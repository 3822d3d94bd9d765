"""Probing through the gateway which version answers: what is in effect, not what was requested."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import httpx

from penstock.errors import InputError, ServiceError
from penstock.rollout.access import REFUSED, AccessSpec, is_open, refused, trusted, with_access
from penstock.rollout.traffic import AGENT

VERSION_HEADER = "x-penstock-version"

_TIMEOUT = 5.0
_PAUSE = 0.1
_PAUSE_OF_SAMPLING = 0.02
"""Seconds between requests that look for a version which gets few of them: a share of 1 % takes
hundreds."""

_SURE = 1e-4
"""Chance that a split which is there is taken for one that is not, or the other way round."""
_REMEDY = (
    "Look at the conditions of the HTTPRoute and of its Gateway; if this address is not reached "
    "from here, name one that is in deployment.kserve.address."
)
_TRIES = 60
_SHUT_OUT = 5.0
"""Seconds after which a gateway that lets nothing in is not waited for: it may have
learned of the token just now."""
_OPEN = AccessSpec()
_LEAST = 0.2
"""Share of an equal split's answers that each version must have given: fewer of 60 than that come
with a chance of 2e-7 where the split is there."""


class Prober:
    """Asks for the model's metadata, which no counter counts.

    Args:
        url: The gateway.
        service: The service.
        access: How requests get in at the gateway.
    """

    def __init__(self, url: str, *, service: str, access: AccessSpec = _OPEN) -> None:
        self._url = f"{url}/v2/models/{service}"
        self._access = access
        self._refusal = 0
        self._has_asked = False
        self._http = httpx.Client(
            timeout=_TIMEOUT,
            trust_env=False,
            headers={"user-agent": AGENT},
            # Reading the certificates takes longer than asking.
            verify=False if is_open(url) else trusted(access.ca_file),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def version(self, headers: Mapping[str, str] = {}) -> str:
        """Return the version that answers now, or in words what came instead."""
        self._refusal = 0
        try:
            shown = with_access(headers, self._access)
            self._has_asked = True
        except InputError as error:
            # A token's file that is just being replaced ends no rollout in its midst.
            if not self._has_asked:
                raise
            return f"no answer ({error})"
        try:
            response = self._http.get(self._url, headers=shown)
        except httpx.HTTPError as error:
            return f"no answer ({error})"
        found = response.headers.get(VERSION_HEADER)
        if found:
            return str(found)
        self._refusal = response.status_code if response.status_code in REFUSED else 0
        return f"status {response.status_code}: {response.text[:200]}"

    def wait_for(self, version: int, *, headers: Mapping[str, str], timeout: float) -> None:
        """Return once `version` answers requests with these headers.

        Raises:
            ServiceError: If it does not within `timeout` seconds; what does is in the message.
        """
        self._until(
            lambda found: found == str(version),
            headers=headers,
            timeout=timeout,
            what=f"version {version} is not reached through the gateway",
        )

    def wait_for_weight(
        self, candidate: int, *, percent: int, headers: Mapping[str, str], timeout: float
    ) -> None:
        """Return once users' requests are shared as they should be, as far as a few can show.

        Above 0 the candidate must answer once; at 0 or 100 so many answers in a row must be of one
        version that no smaller or greater share would have given them by chance. A gateway that
        takes its time to give them is waited for: only a wrong one after `timeout` is a failure.

        Args:
            candidate: The version.
            percent: Its weight.
            headers: Of a user's request.
            timeout: Seconds until it must be so.

        Raises:
            ServiceError: If it does not come to be.
        """
        mine = str(candidate)
        if 0 < percent < 100:
            self._until(
                lambda found: found == mine,
                headers=headers,
                timeout=timeout,
                what=f"version {candidate} gets no request at a weight of {percent} %",
                pause=_PAUSE_OF_SAMPLING,
            )
            return
        # A share of 5 % would have shown by then.
        needed = math.ceil(math.log(_SURE) / math.log(0.95))
        in_a_row = 0

        def settled(found: str) -> bool | None:
            nonlocal in_a_row
            fits = (found == mine) == (percent == 100) and found.isdigit()
            in_a_row = in_a_row + 1 if fits else 0
            return in_a_row >= needed or (None if fits else False)

        self._until(
            settled,
            headers=headers,
            timeout=timeout,
            what=f"the gateway does not keep to a weight of {percent} % for version {candidate}",
        )

    def require_split(self, stable: int, candidate: int, *, headers: Mapping[str, str]) -> None:
        """Return if requests with these headers are shared equally by both versions.

        Raises:
            ServiceError: If one of them gets too few: the weights have no effect.
        """
        found = [self.version(headers) for _ in range(_TRIES)]
        for version in (stable, candidate):
            if found.count(str(version)) < _LEAST * _TRIES:
                counts = {answer: found.count(answer) for answer in sorted(set(found))}
                raise ServiceError(
                    f"the gateway does not split traffic: {_TRIES} requests at equal weights were "
                    f"answered by {counts}",
                    where=self._url,
                    remedy=_REMEDY,
                )

    def _until(
        self,
        fits: Callable[[str], bool | None],
        *,
        headers: Mapping[str, str],
        timeout: float,
        what: str,
        pause: float = _PAUSE,
    ) -> None:
        """Ask until an answer `fits`; None: it does, and more of them are needed.

        Whoever answers as it is not to be is not asked without a pause: users ask there too.
        """
        begun = time.monotonic()
        deadline, let_in = begun + timeout, begun
        while True:
            found = self.version(headers)
            verdict = fits(found)
            if verdict:
                return
            now = time.monotonic()
            let_in = let_in if self._refusal else now
            if now - let_in > _SHUT_OUT:
                raise refused(self._refusal, where=self._url, token=bool(self._access.token))
            if verdict is False and now > deadline:
                raise ServiceError(
                    f"{what} after {timeout:g} s; the last answer was of "
                    + (f"version {found}" if found.isdigit() else found),
                    where=self._url,
                    remedy=_REMEDY,
                )
            if not found.isdigit():
                time.sleep(_PAUSE)
            elif verdict is False:
                time.sleep(pause)
