"""The engine on pods of Kubernetes: a DaskCluster that the step's own pod makes and owns."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from penstock.cluster.client import Kube, Manifest
from penstock.cluster.own_pod import api_server, own_pod
from penstock.common.progress import log
from penstock.data.engine.cluster_life import WHERE, made
from penstock.data.engine.dask_cluster import DASK_CLUSTERS, address_of
from penstock.data.engine.each import Each, given_up, here, shares
from penstock.data.engine.on_dask import by
from penstock.data.engine.pod_reasons import reasons
from penstock.data.engine.spec import EngineSpec
from penstock.data.table import Part
from penstock.errors import InputError, IntegrityError, ServiceError

P = TypeVar("P")
S = TypeVar("S")

_BEAT = 60.0
"""Seconds between signs of life: the operator removes a cluster without work."""

_ATTEMPT = 5.0
"""Seconds that one attempt to reach the scheduler takes at most."""

_SAME = ("dask", "distributed", "msgpack", "cloudpickle", "penstock")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


@contextlib.contextmanager
def on_kubernetes(spec: EngineSpec, *, addresses: Mapping[Path, str]) -> Iterator[Each]:
    """Yield an engine whose workers are pods like this one; they end with the block.

    Parts of a dataset are read by the workers where it lies. What they cannot reach, a folder that
    this step wrote itself or work that is on no dataset, is done in this process.

    Args:
        spec: How many workers, and of what size.
        addresses: Where the folders of datasets lie.

    Raises:
        MissingLibraryError: If Dask is not installed.
        InputError: If an address cannot be read by workers.
        ServiceError: If there is no operator, it is not allowed, no worker is there in time, or
            the workers have other versions than this step.
    """
    import distributed

    places = {str(folder): readable(uri) for folder, uri in addresses.items()}
    kube = api_server()
    pod = own_pod(kube)
    tls = tls_of(distributed.Security.temporary())
    with (
        _quiet(tls),
        made(kube, pod, spec=spec, tls=tls) as name,
        _connected(kube, pod, name, spec) as client,
        _kept_alive(client),
    ):
        _check_versions(client)

        def each(work: Callable[[Sequence[P]], S], parts: Sequence[P]) -> Iterator[S]:
            placed = [_placed(part, places) for part in parts]
            if any(part is None for part in placed):
                yield from here(work, parts)
                return
            with _sentences(kube, pod, name):
                yield from by(client, work, shares(placed, spec.workers))

        yield each


def readable(uri: str) -> str:
    """Return the address at which workers read what Kubeflow keeps at a URI.

    Raises:
        InputError: If it is in Kubeflow's own store, and no variable says where that is.
    """
    address = uri.partition("?")[0].rstrip("/")
    if not address.startswith("minio://"):
        return address
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        raise InputError(
            "the dataset lies in Kubeflow's own store, and the step does not know where that is",
            where=uri,
            remedy="Set AWS_ENDPOINT_URL by `cluster.environment`, and the keys by "
            "`cluster.secrets` (docs/engine-on-kubernetes.md).",
        )
    return address.replace("minio://", "s3://", 1)


def _placed(part: Any, places: Mapping[str, str]) -> Any:
    """Return a part where workers find it; None: they cannot."""
    if isinstance(part, Part) and part.place in places:
        return replace(part, place=places[part.place])
    return None


def tls_of(security: Any) -> dict[str, str]:
    """Return the settings by which the processes of one cluster know each other, and nobody else.

    Key and certificate are made for this cluster and live as long as it does.
    """
    key, certificate = str(security.tls_client_key), str(security.tls_client_cert)
    roles = ("client", "scheduler", "worker")
    return {
        "ca-file": certificate,
        **{f"{role}.key": key for role in roles},
        **{f"{role}.cert": certificate for role in roles},
    }


@contextlib.contextmanager
def _quiet(tls: Mapping[str, str]) -> Iterator[None]:
    import dask

    settings: dict[str, Any] = {f"distributed.comm.tls.{name}": one for name, one in tls.items()}
    settings["distributed.comm.require-encryption"] = True
    # The step says what went wrong, in a sentence.
    settings["distributed.logging.distributed"] = "critical"
    with dask.config.set(settings):
        yield


@contextlib.contextmanager
def _connected(kube: Kube, pod: Manifest, name: str, spec: EngineSpec) -> Iterator[Any]:
    """Yield a client of the cluster as soon as a worker is there."""
    deadline = time.monotonic() + spec.starts_within

    def wait(seconds: float) -> None:
        if time.monotonic() > deadline:
            raise _late(kube, pod, name, spec)
        time.sleep(seconds)
        _check_phase(kube, pod, name)

    client = _client(pod, deadline)
    while client is None:
        wait(1)
        client = _client(pod, deadline)
    with client:
        while not client.scheduler_info()["workers"]:
            wait(0.5)
        log(f"Dask cluster {name}: {len(client.scheduler_info()['workers'])} workers are there")
        yield client


def _client(pod: Manifest, deadline: float) -> Any:
    """Return a client of the scheduler; None: it does not answer yet."""
    import distributed

    seconds = min(max(deadline - time.monotonic(), 1), _ATTEMPT)
    with warnings.catch_warnings():
        # Of versions the step says itself what differs.
        warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
        try:
            return distributed.Client(address_of(pod), timeout=seconds, set_as_default=False)
        except (OSError, TimeoutError):
            return None
        except ImportError as error:
            raise _other_versions(
                f"the scheduler's versions are not this step's: {error}"
            ) from error


def _check_phase(kube: Kube, pod: Manifest, name: str) -> None:
    path = DASK_CLUSTERS.path(pod["metadata"]["namespace"], name)
    found = kube.get(path)
    if found is None or (found.get("status") or {}).get("phase") == "Error":
        raise ServiceError(
            f"the Dask cluster {name} {'was removed' if found is None else 'has failed'} before a "
            "worker was there",
            where=WHERE,
            remedy="Look into the log of Dask's operator, then run again.",
        )


def _late(kube: Kube, pod: Manifest, name: str, spec: EngineSpec) -> ServiceError:
    namespace = pod["metadata"]["namespace"]
    found = kube.get(DASK_CLUSTERS.path(namespace, name)) or {}
    phase = (found.get("status") or {}).get("phase")
    why = reasons(kube, namespace=namespace, cluster=name) or (
        f"its phase is {phase}" if phase else "no operator has taken it up"
    )
    return ServiceError(
        f"no worker of the Dask cluster {name} was there within {spec.starts_within} seconds: "
        f"{why}",
        where=WHERE,
        remedy="Mend what keeps its pods, or set `engine.on: machine`.",
    )


def _check_versions(client: Any) -> None:
    """Refuse workers that would take the work otherwise than it is meant."""
    found = client.get_versions(packages=["penstock"])
    mine = found["client"]["packages"]
    for who, theirs in (("scheduler", found["scheduler"]), *found["workers"].items()):
        for package in _SAME:
            if theirs["packages"].get(package) not in (mine.get(package), None):
                raise _other_versions(
                    f"{package} is {mine[package]} in this step and {theirs['packages'][package]} "
                    f"in {'the scheduler' if who == 'scheduler' else 'a worker'}"
                )


def _other_versions(what: str) -> ServiceError:
    return ServiceError(
        " ".join(what.split()),
        where=WHERE,
        remedy="The image's tag has moved between them: name the image by its digest.",
    )


@contextlib.contextmanager
def _kept_alive(client: Any) -> Iterator[None]:
    """Give the cluster a little work now and then, while the step does what it does itself."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with contextlib.suppress(Exception):
                client.submit(os.getpid, pure=False)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _sentences(kube: Kube, pod: Manifest, name: str) -> Iterator[None]:
    """Say what happened to the workers, where the work ends by it."""
    import distributed

    try:
        yield
    except distributed.KilledWorker as error:
        why = reasons(kube, namespace=pod["metadata"]["namespace"], cluster=name)
        raise given_up(
            "dask on kubernetes",
            remedy=f"{f'Its pods say {why}. ' if why else ''}It may have run out of memory: set a "
            "larger `engine.memory`.",
        ) from error
    except CancelledError as error:
        raise ServiceError(
            "the scheduler of the Dask cluster was lost in the middle",
            where=WHERE,
            remedy="Run again; if it is lost again, look at what ended its pod.",
        ) from error
    except (ServiceError, IntegrityError) as error:
        if not error.where.startswith(("s3://", "gs://", "gcs://", "abfs://")):
            raise
        raise type(error)(
            f"a worker cannot read the dataset: {error.what}",
            where=error.where,
            remedy=f"{error.remedy} Workers have the variables, secrets and volumes of the step "
            "(`cluster.environment`, `cluster.secrets`).",
        ) from error
