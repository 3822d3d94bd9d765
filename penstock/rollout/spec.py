"""The project file's section on deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from penstock.captures.spec import CapturesSpec, ShippedCapturesSpec
from penstock.common.secrets import is_reference
from penstock.records.feature_server import FeatureServerSpec
from penstock.records.spec import Spec
from penstock.rollout.access import AccessSpec
from penstock.rollout.autoscaling_spec import AutoscalingSpec

Fault = Literal[
    "",
    "errors",
    "slow",
    "crash-at-start",
    "crash-later",
    "leak",
    "shifted-scores",
    "constant-scores",
    "refuses-a-category",
    "wrong-later",
]


class ShadowSpec(Spec):
    """Dark launch: the candidate gets mirrored requests, and its responses are not used."""

    share: float = Field(
        default=1.0, ge=0, le=1, description="Share of requests that is copied; 0 leaves it out"
    )
    min_pairs: int = Field(default=300, ge=1, description="Requests that both must have got")
    min_seconds: float = Field(default=0, ge=0, description="Seconds it lasts at least")
    max_wait: float = Field(
        default=300, gt=0, description="Seconds after which inconclusive means rollback"
    )


class StepSpec(Spec):
    """One step of the candidate's traffic."""

    weight: int = Field(ge=1, le=100, description="Percent of new requests the candidate gets")
    min_samples: int = Field(
        default=300, ge=1, description="Requests of this step that each version must have answered"
    )
    min_seconds: float = Field(default=0, ge=0, description="Seconds it lasts at least")
    max_wait: float = Field(
        default=600, gt=0, description="Seconds after which inconclusive means rollback"
    )
    hold: bool = Field(
        default=False, description="Wait for `penstock rollout approve` before going on"
    )


class RulesSpec(Spec):
    """What the candidate must show against the stable version. Inconclusive is never a pass."""

    confidence: float = Field(
        default=0.99,
        gt=0.5,
        lt=1,
        description="Level of every interval, kept however often one looks (always valid)",
    )
    error_increase: float = Field(
        default=0.02, gt=0, lt=1, description="Share of 5xx answers: how much higher it may be"
    )
    refusal_increase: float = Field(
        default=0.02, gt=0, lt=1, description="Share of 4xx answers: how much higher it may be"
    )
    latency_quantile: float = Field(
        default=0.99, gt=0, lt=1, description="The quantile of latency that is compared"
    )
    latency_ratio: float = Field(
        default=1.5,
        gt=1,
        description="How many times the stable version's it may be, that quantile and the median",
    )
    agreement: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Share of mirrored requests on a row of which both must agree; 0 leaves it "
        "out. For a regression: within 10 % of one another",
    )
    score_psi: float = Field(
        default=0.2, gt=0, description="Population stability index of the scores, at most"
    )
    score_ks: float = Field(
        default=0.15, gt=0, le=1, description="Kolmogorov-Smirnov distance of the scores, at most"
    )
    label_loss_increase: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Mean loss on requests whose labels have come: how much higher it may be",
    )
    labels: Literal["optional", "required"] = Field(
        default="optional",
        description="optional: judged once min_labels have come; required: no promotion before",
    )
    min_labels: int = Field(
        default=200,
        ge=1,
        description="Labelled requests of each version before labels pass or fail",
    )


class AbortSpec(Spec):
    """What ends a rollout at once, without waiting for a step to end."""

    error_burst: float = Field(
        default=0.5, gt=0, le=1, description="Share of 5xx answers within one interval"
    )
    burst_requests: int = Field(
        default=10, ge=1, description="Requests of that interval, at least, for it to count"
    )
    max_restarts: int = Field(
        default=0, ge=0, description="Times the candidate may die and be started again"
    )


class TrafficSpec(Spec):
    """Where requests come from while a rollout is under way."""

    source: Literal["live", "replay", "both"] = Field(
        default="both",
        description="live: users alone; replay: rows of the holdout, sent at `rate`; both: both. "
        "What users sent counts in each case; on a cluster with live and both, where "
        "`kserve.prometheus` names one",
    )
    rate: float = Field(default=50, gt=0, le=10_000, description="Replayed requests a second")


class CanarySpec(Spec):
    """How a new version earns its traffic."""

    shadow: ShadowSpec = ShadowSpec()
    steps: tuple[StepSpec, ...] = Field(
        default=(StepSpec(weight=10), StepSpec(weight=50)),
        description="The candidate's traffic, step by step; after the last it is promoted",
    )
    rules: RulesSpec = RulesSpec()
    abort: AbortSpec = AbortSpec()
    traffic: TrafficSpec = TrafficSpec()
    interval: float = Field(default=1.0, gt=0, description="Seconds between two looks")
    deadline: float = Field(
        default=1800, gt=0, description="Seconds after which a rollout that is not done goes back"
    )
    sticky_header: str = Field(
        default="",
        description="Requests with the same value of this header get the same version",
    )
    choice_header: str = Field(
        default="",
        description="A/B: a request whose header of this name is `stable` or `candidate` gets that "
        "version, the candidate only where it has traffic at all",
    )

    @model_validator(mode="after")
    def _rising(self) -> CanarySpec:
        weights = [step.weight for step in self.steps]
        if not weights or weights != sorted(set(weights)):
            raise ValueError(f"the weights of the steps must rise, got {weights}")
        return self


_SERVER = 'namespace="{namespace}",model="{service}",model_version="{version}"'
_USERS = f'{_SERVER},origin="live"'
_PREDICTIONS = f'{_USERS},protocol=~"v1|v2|mlflow"'


class QueriesSpec(Spec):
    """The queries about users' requests, in PromQL.

    `{namespace}`, `{service}` and `{version}` are put in. Counters are queried as they are, one
    series or more for each pod, each with the label `pod`; how they grew is worked out here.
    """

    scraped: str = Field(
        default=f"timestamp(penstock_model_info{{{_SERVER}}})",
        description="Unix time at which each pod of the version was scraped last",
    )
    requests: str = Field(
        default=f"penstock_requests_total{{{_PREDICTIONS}}}",
        description="Requests answered, by the label `code`: the status, 0 for none",
    )
    seconds: str = Field(
        default=f"penstock_request_duration_seconds_bucket{{{_PREDICTIONS}}}",
        description="Histogram of seconds, by `le`, read with traffic.source: live alone; empty: "
        "latency is not known, and never passes",
    )
    scores: str = Field(
        default=f"penstock_drawn_score_bucket{{{_USERS}}}",
        description="Histogram of the scores of a classifier, of one row of each request, by `le`; "
        "empty: not read",
    )
    predicted: str = Field(
        default=f"penstock_drawn_rows_total{{{_USERS}}}",
        description="One row of each request by predicted label, in the label `label`, read where "
        "scores are",
    )
    labelled_requests: str = Field(
        default=f"penstock_labelled_requests_total{{{_USERS}}}",
        description="Requests whose true labels have come; empty: not read",
    )
    labelled_loss: str = Field(
        default=f"penstock_labelled_loss_total{{{_USERS}}}",
        description="Sum of their losses, each the mean over its labelled rows",
    )
    labelled_squared: str = Field(
        default=f"penstock_labelled_loss_squared_total{{{_USERS}}}",
        description="Sum of the squares of their losses",
    )

    @model_validator(mode="after")
    def _by_version(self) -> QueriesSpec:
        for name, query in self:
            if query and "{version}" not in query:
                raise ValueError(f"{name}: {query!r} does not say {{version}}: it has no arms")
        for together in (
            {"scraped": self.scraped},
            {"requests": self.requests},
            {name: query for name, query in self if name.startswith("labelled")},
            {"scores": self.scores, "predicted": self.predicted},
        ):
            empty = [name for name, query in together.items() if not query]
            if empty and (len(together) == 1 or len(empty) < len(together)):
                raise ValueError(f"{empty[0]} is empty, and cannot be left out alone")
        return self


class PrometheusSpec(Spec):
    """Where the figures of users' requests are read during a rollout."""

    url: str = Field(
        default="", description="For example http://prometheus.monitoring:9090; empty: none"
    )
    token_file: str = Field(
        default="", description="File with a bearer token, read anew each time; empty: none"
    )
    ca_file: str = Field(
        default="", description="Certificates (PEM) to check its own against; empty: the system's"
    )
    stale_after: float = Field(
        default=90,
        gt=0,
        description="Seconds without a scrape after which a pod's figures count no more; more than "
        "two scrape intervals",
    )
    latency_edges: tuple[float, ...] = Field(
        default=(),
        description="Edges in seconds that the histogram `queries.seconds` has, at least these; "
        "empty: those of the model server",
    )
    queries: QueriesSpec = QueriesSpec()

    @model_validator(mode="after")
    def _rising(self) -> PrometheusSpec:
        edges = list(self.latency_edges)
        if len(edges) == 1 or edges != sorted(set(edges)) or min(edges, default=1) <= 0:
            raise ValueError("latency_edges must be above 0 and rise, two at least")
        if self.url and not (
            self.url.startswith(("http://", "https://")) or is_reference(self.url)
        ):
            raise ValueError(f"url must begin with http:// or https://, got {self.url!r}")
        return self


class KserveSpec(Spec):
    """Where a router of a cluster serves, and with what."""

    namespace: str = Field(
        default="penstock", description="Namespace of the model servers, the route and the gateway"
    )
    gateway: str = Field(
        default="penstock",
        description="The Gateway, `name` or `namespace/name`; kserve-knative has none",
    )
    address: str = Field(
        default="",
        description="URL at which this step reaches the gateway; empty: what its status says, or "
        "that of the InferenceService for kserve-knative",
    )
    access: AccessSpec = AccessSpec()
    hostname: str = Field(
        default="",
        description="Host that users call it by; empty: any, distinguished by the path. "
        "kserve-gateway only: elsewhere KServe names it",
    )
    runtime: str = Field(default="penstock", description="ServingRuntime of the model servers")
    service_account: str = Field(
        default="penstock-server",
        description="Their service account, which carries the credentials of the object store",
    )
    replicas: int = Field(
        default=1, ge=1, description="Model servers of each version, where `autoscaling` is empty"
    )
    autoscaling: AutoscalingSpec | None = Field(
        default=None,
        description="Empty: as many as `replicas` says, whatever the load. kserve-gateway only",
    )
    artifacts: dict[str, str] = Field(
        default={},
        description="Where KServe reads what MLflow names otherwise, by prefix: "
        "`mlflow-artifacts:/` to `pvc://mlflow/artifacts/`, for example",
    )
    context: str = Field(
        default="",
        description="Context of the kubeconfig; empty: its current one, or the pod's own",
    )
    prometheus: PrometheusSpec = PrometheusSpec()
    trusted_keys: str = Field(
        default="",
        pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$",
        description="ConfigMap of the namespace with the public keys: as `deployment.trusted_keys` "
        "for the model servers of a cluster; empty: signatures are not looked at",
    )
    captures: ShippedCapturesSpec = ShippedCapturesSpec()
    features: FeatureServerSpec = FeatureServerSpec()

    @model_validator(mode="after")
    def _counted_once(self) -> KserveSpec:
        if self.autoscaling is not None and self.replicas != 1:
            raise ValueError(
                "replicas: autoscaling is given too; say how many with autoscaling.min_replicas"
            )
        return self


class DeploymentSpec(Spec):
    """How a registered version is brought to users."""

    FORMER: ClassVar[Mapping[str, str]] = {"drill": "fault_injection"}

    router: Literal["local", "kserve", "kserve-gateway", "kserve-knative", "kserve-native"] = Field(
        default="local",
        description="local: this machine, loopback; kserve-gateway: KServe on Kubernetes, weighed "
        "by our HTTPRoute; kserve-knative: by Knative, where KServe has it; kserve-native: by "
        "KServe's own canary; kserve: the one that a service has already, else the first of "
        "kserve-gateway and kserve-knative that the cluster has all for",
    )
    port: int = Field(
        default=8080,
        ge=0,
        le=65535,
        description="Where it answers on this machine; 0 takes a free port",
    )
    captures: CapturesSpec = CapturesSpec()
    trusted_keys: str = Field(
        default="",
        description="Folder of public keys beside the project file: servers of this machine load "
        "only what one of them signed and a signed decision approves; empty: signatures are not "
        "looked at",
    )
    features: FeatureServerSpec = FeatureServerSpec()
    kserve: KserveSpec = KserveSpec()
    ready_timeout: float = Field(
        default=120, gt=0, description="Seconds a new server may take to become ready"
    )
    smoke_rows: int = Field(
        default=20,
        ge=1,
        le=5_000,
        description="Holdout rows whose answers must equal the model's own before users see it; at "
        "most 5,000, which `split` keeps for it",
    )
    canary: CanarySpec = CanarySpec()
    history: int = Field(
        default=50,
        ge=1,
        description="Rollouts that have ended whose journals are kept where the service lives; "
        "what the registry keeps of them stays",
    )
    fault_injection: Fault = Field(
        default="",
        description="A fault to inject into the candidate's server, to see it rolled back",
    )

    @property
    def feature_server(self) -> FeatureServerSpec:
        """Where the model servers ask for features."""
        return self.features if self.router == "local" else self.kserve.features

    @model_validator(mode="after")
    def _asks_where_it_serves(self) -> DeploymentSpec:
        if self.router != "local" and self.trusted_keys and not self.kserve.trusted_keys:
            raise ValueError(
                "trusted_keys is a folder for the servers of this machine, and router "
                f"{self.router} has none: name a ConfigMap with kserve.trusted_keys too"
            )
        return self
