"""Kubeflow Hub for tests: answers as a real server did, which is recorded in tests/recorded/hub.

What it takes is checked against the schemas of the server's own OpenAPI file, and an unknown field
is refused. That it answers alike is tests/unit/hub/test_hub.py.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
from running_process import LOOPBACK, served

RECORDED = Path(__file__).parent / "recorded/hub"
SCHEMAS = json.loads((RECORDED / "schemas.json").read_text())
Answer = tuple[int, Any]

KINDS = {
    "registered_models": ("RegisteredModel", "registered model"),
    "model_versions": ("ModelVersion", "model version"),
    "model_artifacts": ("ModelArtifact", "artifact"),
}


class RefusedError(Exception):
    """What the server answers with, if not with what was asked for."""


@dataclass
class HubServer:
    """A server's content, and how it is to behave.

    Attributes:
        dialect: The version of its API.
        token: Who may ask: the bearer of this token; empty: anybody.
        broken: A code that it answers everything with; 0: it works.
        dies_after: Writes that it takes until it is `broken` by 503.
        empty: What it writes for a list without items, as a server of Go may write null.
        writes: Requests that it took and that change something.
    """

    dialect: str = "v1alpha3"
    token: str = ""
    broken: int = 0
    dies_after: int = -1
    address: str = ""
    empty: Any = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    things: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )

    def __post_init__(self) -> None:
        contexts = itertools.count(1)
        self._ids = dict.fromkeys(("registered_models", "model_versions"), contexts)
        self._ids["model_artifacts"] = itertools.count(1)

    def named(self, kind: str) -> dict[str, dict[str, Any]]:
        """The things of a kind by their names."""
        return {one["name"]: one for one in self.things[kind].values()}

    def said(self, kind: str, name: str) -> dict[str, str]:
        """The custom properties of a thing."""
        found = self.named(kind)[name]["customProperties"]
        return {key: value["string_value"] for key, value in found.items()}

    def answer(self, method: str, url: str, body: Any, *, token: str = "") -> Answer:
        parts = urlsplit(url)
        before, _, place = parts.path.partition(f"/api/model_registry/{self.dialect}/")
        if self.broken:
            return self.broken, {"code": "broken", "message": "out of order"}
        if self.token and token != f"Bearer {self.token}":
            return 403, "RBAC: access denied"
        if before or not place:
            return 404, "404 page not found\n"
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        try:
            return self._routed(method, place.split("/"), query, body)
        except RefusedError as refusal:
            return refusal.args[0]

    def _routed(self, method: str, place: list[str], query: dict[str, str], body: Any) -> Answer:
        match method, place:
            case "GET", ["registered_model"]:
                name = query["name"]
                found = self.named("registered_models").get(name)
                sentence = f"no registered models found for name={name}, externalId=: not found"
                return (200, found) if found else refused(404, sentence)
            case "GET", ["registered_models"]:
                return self._page(list(self.things["registered_models"].values()), query)
            case "GET", ["registered_models", number, "versions"]:
                return self._page(self._below("model_versions", number), query)
            case "GET", ["model_versions", number, "artifacts"]:
                return self._page(self._below("model_artifacts", number), query)
            case "POST", ["registered_models" | "model_versions" as kind]:
                return self._create(kind, body, of=(body or {}).get("registeredModelId", ""))
            case "POST", ["model_versions", number, "artifacts"]:
                self._thing("model_versions", number)
                return self._create("model_artifacts", body, of=number)
            case "PATCH", [kind, number] if kind in KINDS:
                return self._change(kind, number, body)
        return 404, "404 page not found\n"

    def _create(self, kind: str, body: Any, *, of: str) -> Answer:
        model, words = KINDS[kind]
        check(body, f"{model}Create", kind=model)
        number = str(next(self._ids[kind]))
        if any(one["name"] == body["name"] for one in self._below(kind, of)):
            words = "model artifact" if kind == "model_artifacts" else words
            return refused(409, f"{words} with name {body['name']} already exists: conflict")
        made = {"customProperties": {}, **body, "id": number, "_of": of}
        self.things[kind][number] = made
        return self._written(f"POST {kind} {body['name']}", 201, made)

    def _change(self, kind: str, number: str, body: Any) -> Answer:
        model, _ = KINDS[kind]
        check(body, f"{model}Update", kind=model)
        thing = self._thing(kind, number)
        if kind == "model_artifacts":
            thing["state"] = "UNKNOWN"
        thing.update(body)
        return self._written(f"PATCH {kind} {thing['name']}", 200, thing)

    def _written(self, what: str, code: int, thing: dict[str, Any]) -> Answer:
        self.writes.append(what)
        if len(self.writes) == self.dies_after:
            self.broken = 503
        return code, thing

    def _thing(self, kind: str, number: str) -> dict[str, Any]:
        try:
            return self.things[kind][number]
        except KeyError:
            words = KINDS[kind][1]
            raise RefusedError(
                refused(404, f"no {words} found for id {number}: not found")
            ) from None

    def _below(self, kind: str, of: str) -> list[dict[str, Any]]:
        return [one for one in self.things[kind].values() if one["_of"] == of]

    def _page(self, found: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        size, start = int(query["pageSize"]), int(query.get("nextPageToken", "0"))
        items = found[start : start + size] or self.empty
        following = str(start + size) if start + size < len(found) else ""
        page = {
            "items": items,
            "nextPageToken": following,
            "pageSize": size,
            "size": len(items or ()),
        }
        return 200, page


def check(body: Any, schema: str, *, kind: str) -> None:
    """Refuse a body as the server does, by the first thing that is wrong with it."""
    for error in jsonschema.Draft7Validator(SCHEMAS[schema]).iter_errors(body):
        if error.validator == "additionalProperties":
            unknown = sorted(set(body) - set(error.schema["properties"]))[0]
            raise RefusedError(refused(400, f'json: unknown field "{unknown}"'))
        if error.validator == "required":
            field = next(one for one in error.schema["required"] if one not in body)
            _, said = refused(400, f"required field '{field}' is zero value.")
            raise RefusedError((422, said))
        if error.validator == "enum":
            raise RefusedError(refused(400, f"{error.instance} is not a valid {kind}State"))
        sentence = "failed to unmarshal JSON into map for the discriminator lookup"
        raise RefusedError(refused(400, sentence))


def refused(code: int, sentence: str) -> Answer:
    words = {400: "Bad Request", 404: "Not Found", 409: "Conflict"}[code]
    return code, {"code": words, "message": sentence}


@contextlib.contextmanager
def hub_server(**settings: Any) -> Iterator[HubServer]:
    """Yield a server that answers at `address`, with no models in it."""
    hub = HubServer(**settings)

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            token = self.headers.get("Authorization", "")
            code, said = hub.answer(self.command, self.path, body, token=token)
            data = (said if isinstance(said, str) else json.dumps(shown(said))).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PATCH = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with served(http.server.ThreadingHTTPServer((LOOPBACK, 0), Answers)) as server:
        hub.address = f"http://{LOOPBACK}:{server.server_port}"
        yield hub


def shown(said: Any) -> Any:
    """Return a thing without what the server keeps of it for itself."""
    if isinstance(said, dict):
        return {key: shown(value) for key, value in said.items() if key != "_of"}
    return [shown(one) for one in said] if isinstance(said, list) else said
