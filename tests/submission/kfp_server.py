"""A Kubeflow Pipelines API server for tests: real HTTP, state, KFP's contract both ways.

What it answers was written after KFP 2.17's apiserver: required and typed parameters, 1 to 10 runs
at once, six cron fields, default service account, error bodies, an upload that conflicts, tasks
without pods and reasons.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from aiohttp import web
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from kfp_argo import Scenario, Workflow
from kfp_contract import ContractError, check

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_NEVER = "0001-01-01T00:00:00+00:00"  # Go's zero time, for a node that has not ended
_KINDS: dict[str, Any] = {
    "STRING": str,
    "STRUCT": dict,
    "LIST": list,
    "BOOLEAN": bool,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
}


@dataclass
class Fault:
    """What happens instead of an answer, so many times; if `late`, after what was asked for."""

    times: int
    status: int = 503
    path: str = "/"
    method: str = ""
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    late: float = 0.0  # seconds


class ApiError(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class KfpServer:
    """The server, in a thread of its own. Set its fields before and between requests."""

    def __init__(self) -> None:
        self.scenario = Scenario()
        self.pace = 4  # things that happen between two looks
        self.multi_user = False
        self.tokens: set[str] | None = None
        self.cookies: set[str] | None = None
        self.forbidden: set[str] = set()
        self.accounts: set[str] | None = None  # ALLOWEDSERVICEACCOUNTS of 2.18; None: 2.17
        self.faults: list[Fault] = []
        self.logs = True
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.workflows: dict[str, Workflow] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self.host = ""
        self.broken: list[str] = []  # where we ourselves left the contract
        self._stop: Callable[[], None] = lambda: None

    def start(self, *, tls: ssl.SSLContext | None = None) -> KfpServer:
        ready = threading.Event()

        def serve() -> None:
            loop = asyncio.new_event_loop()
            runner = web.AppRunner(self._application(), access_log=None)
            loop.run_until_complete(runner.setup())
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls, shutdown_timeout=0.1)
            loop.run_until_complete(site.start())
            port = runner.addresses[0][1]
            self.host = f"{'https' if tls else 'http'}://localhost:{port}"
            self._stop = lambda: loop.call_soon_threadsafe(loop.stop)
            ready.set()
            loop.run_forever()
            loop.run_until_complete(runner.cleanup())
            loop.close()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def stop(self) -> None:
        self._stop()
        self._thread.join(10)

    def asked(self, method: str, path: str) -> list[Any]:
        """Return the bodies of the requests of that kind."""
        return [b for m, p, _, b in self.requests if m == method and p.startswith(path)]

    def _application(self) -> web.Application:
        api = "/apis/v2beta1"
        application = web.Application(middlewares=[self._around], client_max_size=1 << 25)
        add = application.router.add_route
        add("GET", f"{api}/healthz", self._healthz)
        add("POST", f"{api}/experiments", self._create_experiment)
        add("GET", f"{api}/experiments", self._list_experiments)
        add("POST", f"{api}/runs", self._create_run)
        add("GET", f"{api}/runs", self._list_runs)
        add("GET", f"{api}/runs/{{id}}", self._get_run)
        add("POST", f"{api}/runs/{{id}}:terminate", self._terminate_run)
        add("GET", "/apis/v1beta1/runs/{id}", self._get_workflow)
        add("GET", "/apis/v1alpha1/runs/{id}/nodes/{node}/log", self._log)
        add("POST", f"{api}/pipelines", self._create_pipeline)
        add("GET", f"{api}/pipelines", self._list_pipelines)
        add("POST", f"{api}/pipelines/upload", self._upload)
        add("POST", f"{api}/pipelines/upload_version", self._upload_version)
        add("GET", f"{api}/pipelines/{{id}}/versions", self._list_versions)
        add("POST", f"{api}/recurringruns", self._create_recurring)
        add("GET", f"{api}/recurringruns", self._list_recurring)
        add("GET", f"{api}/recurringruns/{{id}}", self._get_recurring)
        add("POST", f"{api}/recurringruns/{{id}}:{{action}}", self._switch_recurring)
        add("DELETE", f"{api}/recurringruns/{{id}}", self._delete_recurring)
        return application

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = None
        if request.content_type == "application/json" and request.can_read_body:
            body = await request.json()
        self.requests.append((request.method, request.path, dict(request.headers), body))
        if (fault := self._fault(request)) is not None:
            if fault.late:
                await handler(request)
                await asyncio.sleep(fault.late)
            if fault.cut:
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=fault.status, text=fault.text, headers=fault.headers)
        try:
            self._let_in(request)
            return await handler(request)
        except ApiError as error:
            body = {"code": error.code, "message": error.message, "details": []}
            check("GoogleRpcStatus", body)
            return web.json_response({"error": error.message, **body}, status=error.status)
        except ContractError as error:
            return web.json_response({"code": 3, "message": f"proto: {error}"}, status=400)

    def _fault(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            fits = request.path.startswith(fault.path) and fault.method in ("", request.method)
            if fits and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _let_in(self, request: web.Request) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        cookie = request.headers.get("Cookie", "")
        if (self.tokens is not None and token not in self.tokens) or (
            self.cookies is not None and cookie not in self.cookies
        ):
            raise ApiError(401, 16, "Request header error: there is no user identity header.")

    def _answer(self, kind: str, body: dict[str, Any]) -> web.Response:
        kept = {key: value for key, value in body.items() if value not in (None, "", [], {})}
        try:
            check(kind, kept)
        except ContractError as error:
            self.broken.append(str(error))
            raise
        return web.json_response(kept)

    def _namespace(self, namespace: str | None) -> str:
        if self.multi_user and not namespace:
            raise ApiError(400, 3, "Invalid input error: namespace is empty in multi-user mode.")
        if namespace in self.forbidden:
            raise ApiError(403, 7, f"User 'jo' is not authorized in namespace {namespace}.")
        return namespace or ""

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "commit_sha": "unknown",
                "tag_name": "2.17.0",
                "multi_user": self.multi_user,
                "pipeline_store": "database",
            }
        )

    async def _create_experiment(self, request: web.Request) -> web.Response:
        body = check("V2beta1Experiment", await request.json())
        namespace = self._namespace(body.get("namespace"))
        if any(e["display_name"] == body["display_name"] for e in self.experiments.values()):
            raise ApiError(409, 6, "Experiment already exists.")
        made = {
            "experiment_id": str(uuid.uuid4()),
            "display_name": body["display_name"],
            "namespace": namespace,
            "created_at": _now(),
            "storage_state": "AVAILABLE",
        }
        self.experiments[made["experiment_id"]] = made
        return self._answer("V2beta1Experiment", made)

    async def _list_experiments(self, request: web.Request) -> web.Response:
        self._namespace(request.query.get("namespace"))
        return self._page(
            request, "V2beta1ListExperimentsResponse", "experiments", self.experiments
        )

    async def _create_run(self, request: web.Request) -> web.Response:
        body = check("V2beta1Run", await request.json())
        if body.get("experiment_id") not in self.experiments:
            raise ApiError(404, 5, "Experiment not found.")
        self._check_account(body)
        spec = self._spec_of(body)
        self._check_parameters(spec, body.get("runtime_config", {}).get("parameters", {}))
        run_id = str(uuid.uuid4())
        self.workflows[run_id] = Workflow(f"release-{run_id[:5]}", spec, self.scenario)
        self.runs[run_id] = {
            **body,
            "run_id": run_id,
            "created_at": _now(),
            "storage_state": "AVAILABLE",
            "service_account": body.get("service_account", "pipeline-runner"),
        }
        return self._answer("V2beta1Run", self._run(run_id))

    async def _list_runs(self, request: web.Request) -> web.Response:
        there = {
            run_id: self._run(run_id)
            for run_id, run in self.runs.items()
            if run["experiment_id"] == request.query["experiment_id"]
        }
        return self._page(request, "V2beta1ListRunsResponse", "runs", there)

    def _check_account(self, body: dict[str, Any]) -> None:
        account = body.get("service_account", "")
        if self.accounts is not None and account and account not in self.accounts:
            # The words are ours: those of 2.18 were not to be had when this was written.
            raise ApiError(403, 7, f"Service account {account!r} is not allowed for pipeline runs.")

    async def _get_run(self, request: web.Request) -> web.Response:
        run_id = request.match_info["id"]
        if run_id not in self.runs:
            raise ApiError(
                404, 5, f"Failed to get a run: ResourceNotFoundError: Run {run_id} not found."
            )
        self.workflows[run_id].advance(self.pace)
        return self._answer("V2beta1Run", self._run(run_id))

    async def _get_workflow(self, request: web.Request) -> web.Response:
        run_id = request.match_info["id"]
        if not self.scenario.gives_workflow:
            return web.Response(status=404, text="404 page not found")
        manifest = json.dumps(self.workflows[run_id].manifest())
        return web.json_response(
            {"run": {"id": run_id}, "pipeline_runtime": {"workflow_manifest": manifest}}
        )

    async def _terminate_run(self, request: web.Request) -> web.Response:
        run_id = request.match_info["id"]
        if run_id not in self.runs:
            raise ApiError(404, 5, f"Run {run_id} not found.")
        self.workflows[run_id].terminate()
        return web.json_response({})

    async def _log(self, request: web.Request) -> web.Response:
        workflow = self.workflows[request.match_info["id"]]
        for node in workflow.nodes:
            if self.logs and node.pod == request.match_info["node"] and node.log:
                return web.Response(text=node.log)
        return web.json_response({"error_message": "no such pod"}, status=400)

    def _run(self, run_id: str) -> dict[str, Any]:
        workflow = self.workflows[run_id]
        history = ["RUNNING", *(["CANCELING"] if workflow.canceled else []), workflow.state]
        details = [
            {
                "run_id": run_id,
                "task_id": str(uuid.uuid4()),
                "display_name": node.name,
                "create_time": _now(),
                "start_time": "2026-11-21T12:00:00+00:00",
                "end_time": _NEVER if node.state == "RUNNING" else "2026-11-21T12:00:07+00:00",
                "state": "RUNTIME_STATE_UNSPECIFIED" if node.state == "OMITTED" else node.state,
                "child_tasks": [{"pod_name": child} for child in node.children],
            }
            for node in workflow.nodes
        ]
        return {
            **self.runs[run_id],
            "state": workflow.state,
            "state_history": [{"update_time": _now(), "state": state} for state in history],
            "run_details": {"task_details": details},
        }

    def _spec_of(self, body: dict[str, Any]) -> dict[str, Any]:
        if reference := body.get("pipeline_version_reference"):
            found: dict[str, Any] = self.versions[reference["pipeline_version_id"]]["pipeline_spec"]
            return _pipeline_spec(found)
        if not body.get("pipeline_spec"):
            raise ApiError(400, 3, "Failed to fetch a pipeline source.")
        return _pipeline_spec(body["pipeline_spec"])

    def _check_parameters(self, spec: dict[str, Any], given: dict[str, Any]) -> None:
        inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name, declared in inputs.items():
            if name not in given:
                if not declared.get("isOptional") and "defaultValue" not in declared:
                    raise ApiError(400, 3, f"parameter {name} is not optional, yet has no value")
            elif not isinstance(given[name], _KINDS[declared["parameterType"]]):
                raise ApiError(400, 3, f"input parameter {name} requires another type")
        if extra := set(given) - set(inputs):
            raise ApiError(400, 3, f"parameter(s) provided are not required: {', '.join(extra)}")

    async def _create_pipeline(self, request: web.Request) -> web.Response:
        body = check("V2beta1Pipeline", await request.json())
        return self._answer("V2beta1Pipeline", self._new_pipeline(body))

    def _new_pipeline(self, body: dict[str, Any]) -> dict[str, Any]:
        if any(p["name"] == body["name"] for p in self.pipelines.values()):
            raise ApiError(409, 6, "Already exist error: the pipeline name is taken.")
        made = {
            "pipeline_id": str(uuid.uuid4()),
            "name": body["name"],
            "display_name": body.get("display_name") or body["name"],
            "namespace": self._namespace(body.get("namespace")),
            "created_at": _now(),
        }
        self.pipelines[made["pipeline_id"]] = made
        return made

    async def _list_pipelines(self, request: web.Request) -> web.Response:
        return self._page(request, "V2beta1ListPipelinesResponse", "pipelines", self.pipelines)

    async def _upload(self, request: web.Request) -> web.Response:
        spec = await _uploaded(request)
        name = request.query.get("name", "")
        made = self._new_pipeline({"name": name, "namespace": request.query.get("namespace")})
        self._new_version(made["pipeline_id"], name, spec)
        return self._answer("V2beta1Pipeline", made)

    async def _upload_version(self, request: web.Request) -> web.Response:
        spec = await _uploaded(request)
        pipeline, name = request.query["pipelineid"], request.query["name"]
        if pipeline not in self.pipelines:
            return web.json_response({"error_message": "Failed to create"}, status=400)
        taken = (pipeline, name) in {(v["pipeline_id"], v["name"]) for v in self.versions.values()}
        if taken:
            return web.json_response({"error_message": "Failed to create"}, status=409)
        return self._answer("V2beta1PipelineVersion", self._new_version(pipeline, name, spec))

    def _new_version(self, pipeline: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": str(uuid.uuid4()),
            "name": name,
            "display_name": name,
            "created_at": _now(),
            "pipeline_spec": spec,
        }
        self.versions[made["pipeline_version_id"]] = made
        return made

    async def _list_versions(self, request: web.Request) -> web.Response:
        of = {
            k: v for k, v in self.versions.items() if v["pipeline_id"] == request.match_info["id"]
        }
        return self._page(request, "V2beta1ListPipelineVersionsResponse", "pipeline_versions", of)

    async def _create_recurring(self, request: web.Request) -> web.Response:
        body = check("V2beta1RecurringRun", await request.json())
        experiment = self.experiments.get(body.get("experiment_id", ""))
        if not body.get("display_name") or experiment is None:
            raise ApiError(400, 3, "Recurring run name is empty, or its experiment unknown.")
        self._check_account(body)
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise ApiError(400, 3, "Max concurrency must be at least 1 and at most 10.")
        trigger = body.get("trigger", {})
        if cron := trigger.get("cron_schedule"):
            if len(cron["cron"].split()) != 6:
                raise ApiError(400, 3, "the test server wants six fields")
        elif int(trigger.get("periodic_schedule", {}).get("interval_second", 0)) < 1:
            raise ApiError(400, 3, "Found invalid period schedule interval. Set at least 1.")
        spec = self._spec_of(body)
        self._check_parameters(spec, body.get("runtime_config", {}).get("parameters", {}))
        enabled = body["mode"] == "ENABLE"
        made = {
            **body,
            "recurring_run_id": str(uuid.uuid4()),
            "namespace": experiment["namespace"] or "kubeflow",
            "service_account": body.get("service_account", "pipeline-runner"),
            "status": "ENABLED" if enabled else "DISABLED",
            "created_at": _now(),
            "updated_at": _now(),
        }
        if not made["runtime_config"].get("parameters"):
            del made["runtime_config"]
        self.recurring[made["recurring_run_id"]] = made
        return self._answer("V2beta1RecurringRun", made)

    async def _list_recurring(self, request: web.Request) -> web.Response:
        self._namespace(request.query.get("namespace"))
        return self._page(
            request, "V2beta1ListRecurringRunsResponse", "recurringRuns", self.recurring
        )

    async def _get_recurring(self, request: web.Request) -> web.Response:
        return self._answer("V2beta1RecurringRun", self._one(request))

    async def _switch_recurring(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        self._one(request).update(
            mode=action.upper(), status={"enable": "ENABLED", "disable": "DISABLED"}[action]
        )
        return web.json_response({})

    async def _delete_recurring(self, request: web.Request) -> web.Response:
        del self.recurring[self._one(request)["recurring_run_id"]]
        return web.json_response({})

    def _one(self, request: web.Request) -> dict[str, Any]:
        found = self.recurring.get(request.match_info["id"])
        if found is None:
            raise ApiError(404, 5, f"Job {request.match_info['id']} not found.")
        return found

    def _page(
        self, request: web.Request, kind: str, field_: str, items: dict[str, dict[str, Any]]
    ) -> web.Response:
        """Answer a page of two, so that whoever forgets the next page is found out."""
        kept = [item for item in items.values() if _fits(item, request.query.get("filter", ""))]
        begin = int(request.query.get("page_token") or 0)
        end = begin + 2
        body: dict[str, Any] = {field_: kept[begin:end], "total_size": len(kept)}
        if end < len(kept):
            body["next_page_token"] = str(end)
        return self._answer(kind, body)


def _fits(item: dict[str, Any], text: str) -> bool:
    if not text:
        return True
    predicates = json.loads(text)["predicates"]
    assert all(each["operation"] in (1, "EQUALS") for each in predicates)
    return all(item[each["key"]] == each["stringValue"] for each in predicates)


async def _uploaded(request: web.Request) -> dict[str, Any]:
    form = await request.post()
    file = form["uploadfile"]
    assert isinstance(file, web.FileField)
    documents = list(yaml.load_all(file.file.read(), Loader=yaml.CSafeLoader))
    whole = {"pipeline_spec": documents[0]}
    if len(documents) > 1:
        whole["platform_spec"] = documents[1]
    _pipeline_spec(whole)
    return whole


def _pipeline_spec(whole: dict[str, Any]) -> dict[str, Any]:
    """Parse a spec as the server does, and return it as JSON."""
    inner = whole.get("pipeline_spec", whole)
    spec = json_format.ParseDict(inner, pipeline_spec_pb2.PipelineSpec())
    if "platform_spec" in whole:
        json_format.ParseDict(whole["platform_spec"], pipeline_spec_pb2.PlatformSpec())
    parsed: dict[str, Any] = json_format.MessageToDict(spec)
    return parsed


def _now() -> str:
    return datetime.now(UTC).isoformat()
