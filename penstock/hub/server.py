"""The REST API of Kubeflow Hub, as far as it is needed: find, create, change.

Its own client is not used: one release of it speaks one dialect, and it patches asyncio.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from penstock.common.secrets import resolve
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.notification import HubSpec
from penstock.redaction import keep, learn, redact

if TYPE_CHECKING:
    import httpx

DIALECTS = ("v1", "v1alpha3")
"""Newest first. Both have the same resources and fields; a server answers one of them."""

ABSENT, TAKEN = 404, 409

_TIMEOUT = 10.0
_PAGE = 100
_MOST_PAGES = 1000
_QUOTED = 300


class HubRefusedError(ServiceError):
    """Kubeflow Hub refuses a request.

    Raised when:
        Another thing has the name already, or the server does not take a field.

    What to do:
        Run penstock hub sync once more: two runs may have written at the same time. Then see the
        Hub's log.

    Args:
        what: What it said.
        where: Its address.
        remedy: What to do about it.
        status: The HTTP status.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "", status: int) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.status = status


class Hub:
    """A Hub that has answered, and in which dialect; a context manager.

    Args:
        spec: Where it is, and who asks.

    Raises:
        InputError: If the address is none, or a reference leads nowhere.
        ServiceError: If nothing answers there, what answers is not the Hub, speaks neither dialect,
            or lets nobody in who asks like this.
    """

    def __init__(self, spec: HubSpec) -> None:
        import httpx

        self.address = resolve(spec.address, where="notify.hub.address").rstrip("/")
        learn(self.address)
        token = resolve(spec.token, where="notify.hub.token")
        if token:
            keep(token)
        try:
            self._client = httpx.Client(
                timeout=_TIMEOUT, headers={"Authorization": f"Bearer {token}"} if token else {}
            )
            httpx.URL(self.address)
        except (httpx.InvalidURL, ValueError) as error:
            raise InputError(f"not an address: {error}", where="notify.hub.address") from error
        try:
            self.dialect = self._spoken()
        except PenstockError:
            self._client.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def model(self, name: str) -> dict[str, Any] | None:
        """Return the registered model of a name; None: there is none."""
        try:
            return self._json("GET", "registered_model", query={"name": name})
        except HubRefusedError as error:
            if error.status == ABSENT:
                return None
            raise

    def versions(self, model: str) -> Iterator[dict[str, Any]]:
        """Yield the versions of a registered model, named by its id."""
        return self._listed(f"registered_models/{model}/versions")

    def artifacts(self, version: str) -> Iterator[dict[str, Any]]:
        """Yield the artifacts of a version, named by its id."""
        return self._listed(f"model_versions/{version}/artifacts")

    def create(self, place: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Create a thing below `place`, like `registered_models`, and return it as it is there.

        Raises:
            HubRefusedError: With the status `TAKEN`, if there is one of its name.
        """
        return self._json("POST", place, body=fields)

    def change(self, place: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Change the fields that are named of a thing, like `model_versions/3`."""
        return self._json("PATCH", place, body=fields)

    def _spoken(self) -> str:
        for dialect in DIALECTS:
            self.dialect = dialect
            try:
                found = self._json("GET", "registered_models", query={"pageSize": "1"})
            except HubRefusedError as error:
                if error.status == ABSENT:
                    continue
                raise
            # A server of Go writes an empty list as null, or leaves it out.
            if not isinstance(found.get("items") or [], list) or "size" not in found:
                raise self._no_hub("it answers, but not with a list of models")
            return dialect
        raise self._no_hub(f"it has neither /api/model_registry/{' nor /'.join(DIALECTS)}")

    def _no_hub(self, what: str) -> ServiceError:
        return ServiceError(
            f"what answers there is not Kubeflow Hub in a version that is known: {what}",
            where=self.address,
            remedy="Name the REST service of the model registry in notify.hub.address, without a "
            "path; known are its API versions v1 and v1alpha3.",
        )

    def _listed(self, place: str) -> Iterator[dict[str, Any]]:
        query = {"pageSize": str(_PAGE)}
        for _ in range(_MOST_PAGES):
            found = self._json("GET", place, query=query)
            yield from found.get("items") or ()
            following = found.get("nextPageToken") or ""
            if not following or following == query.get("nextPageToken"):
                return
            query["nextPageToken"] = following

    def _json(
        self,
        method: str,
        place: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        import httpx

        url = f"{self.address}/api/model_registry/{self.dialect}/{place}"
        try:
            answer = self._client.request(method, url, params=query, json=body)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ServiceError(
                f"Kubeflow Hub does not answer: {error or type(error).__name__}",
                where=self.address,
                remedy="Start it or correct notify.hub.address. Then run: penstock hub sync.",
            ) from error
        if answer.is_success:
            return self._content(answer)
        raise self._error(answer, f"{method} {place}")

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._no_hub("it answers, but not with JSON")
        return found

    def _error(self, answer: httpx.Response, asked: str) -> ServiceError:
        code, said = answer.status_code, _said(answer)
        if code in (401, 403):
            return ServiceError(
                f"Kubeflow Hub lets nobody in who asks like this ({code}): {said}",
                where=f"{self.address}, {asked}",
                remedy="Give a token in notify.hub.token whose account may read and write there, "
                "for example ${env:HUB_TOKEN}, or on Kubeflow ${secret:hub/token}.",
            )
        return HubRefusedError(
            f"Kubeflow Hub refuses {asked} with {code}: {said}",
            where=self.address,
            remedy="Run penstock hub sync again; if it stays, see the Hub's log.",
            status=code,
        )


def _said(answer: httpx.Response) -> str:
    """Return what an answer says is wrong, short and without secrets."""
    try:
        text = str(json.loads(answer.text)["message"])
    except (ValueError, LookupError, TypeError):
        text = answer.text
    return redact(" ".join(text.split())[:_QUOTED]) or "nothing"
