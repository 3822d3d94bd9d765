"""What the tasks of our pipelines request of a cluster: sizes, and the project's section `cluster`.

The section is set by kfp-kubernetes, and compiled in as constants. kfp-kubernetes can also take
most of it from pipeline parameters, which the driver resolves at run time; but a server that does
not know such a parameter ignores it silently, and a step runs on the wrong node or without its
credentials.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Collection, Mapping
from typing import Any

from kfp import dsl

from penstock.cluster.settings import ClusterSpec, ResourcesSpec, SecretSpec
from penstock.common.claims import MOUNT
from penstock.pipelines.outcomes import ENDINGS

_NUMBER = re.compile(r"-\d+$")
"""What kfp adds to the name of a task that a pipeline has several times."""


def sized(
    task: dsl.PipelineTask,
    title: str,
    *,
    limit: str,
    memory: str = "1Gi",
    cpu: str = "500m",
) -> dsl.PipelineTask:
    """Return the task, named for people and with what it requests of a node.

    Args:
        task: The task.
        title: Its name in Kubeflow's graph.
        limit: Memory at most used, as a Kubernetes quantity.
        memory: Memory requested: what a table of some ten thousand rows takes. A node that has not
            so much to give away never runs the step, so it is far below the limit.
        cpu: Requested; not limited, because a limit only slows a step down.
    """
    if task.container_spec is not None:
        # kfp asks so at each setting, and reads the source of every caller before it looks.
        task._ensure_container_spec_exists = _has_one
    task.set_display_name(title)
    task.set_cpu_request(cpu)
    task.set_memory_request(memory)
    task.set_memory_limit(limit)
    image = str(task.container_spec.image)
    if "@" in image:
        # A pod does not know the digest of its own image; decisions and evidence name it.
        task.set_env_variable("PENSTOCK_IMAGE", image)
    return task


def _has_one() -> None:
    """Let a setting be made, as kfp does of a task with a container."""


def light(task: dsl.PipelineTask, title: str) -> dsl.PipelineTask:
    """Return the task sized for a step that computes little."""
    return sized(task, title, limit="1Gi", memory="512Mi", cpu="250m")


def network(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Return the task, tried up to three times: what it calls may be away for a moment."""
    task.set_retry(num_retries=2, backoff_duration="5s", backoff_factor=2.0)
    return task


def renamed(component: Any, name: str) -> Any:
    """Return a component under another name, so that Kubeflow calls its tasks by that name."""
    spec = copy.deepcopy(component.component_spec)
    spec.name = name
    # Of its own class, which may switch caching off.
    return type(component)(component_spec=spec, python_func=component.python_func)


def on_cluster(
    pipeline: Any, cluster: ClusterSpec, *, claims: Mapping[str, Collection[str]] = {}
) -> Any:
    """Return the pipeline with the settings on each of its tasks, or itself if there are none.

    Args:
        pipeline: A function decorated with `dsl.pipeline`; it is not changed.
        cluster: The settings. Service account, experiment and namespace are a run's own and are
            not compiled in.
        claims: Volume claims that tasks mount, by the step's name.
    """
    compiled = cluster.model_copy(
        update=dict.fromkeys(("service_account", "experiment", "namespace"), "")
    )
    if compiled == ClusterSpec() and not any(claims.values()):
        return pipeline
    from kfp.dsl.pipeline_context import Pipeline

    # kfp-kubernetes works on tasks, and those live only while the pipeline's function runs.
    @functools.wraps(pipeline.pipeline_func)
    def placed(*arguments: Any) -> None:
        pipeline.pipeline_func(*arguments)
        for name, task in Pipeline.get_default_pipeline().tasks.items():
            step = _step_of(name)
            _place(task, name=step, cluster=compiled)
            for claim in claims.get(step, ()):
                _mount(task, claim)

    spec = pipeline.component_spec
    return dsl.pipeline(placed, name=spec.name, description=spec.description)


def _step_of(task: str) -> str:
    """Return the name that the section `cluster` has for a task."""
    name = _NUMBER.sub("", task)
    return "fail" if name in ENDINGS else name


def _place(task: dsl.PipelineTask, *, name: str, cluster: ClusterSpec) -> None:
    from kfp import kubernetes

    for variable, value in cluster.environment.items():
        task.set_env_variable(variable, value)
    if not cluster.caching:
        task.set_caching_options(enable_caching=False)
    if cluster.image_pull_policy:
        kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    for label, value in cluster.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in cluster.tolerations:
        kubernetes.add_toleration(
            task,
            key=toleration.key or None,
            operator=toleration.operator,
            value=toleration.value or None,
            effect=toleration.effect or None,
            toleration_seconds=toleration.seconds,
        )
    if name in cluster.resources:
        _size(task, cluster.resources[name])
    for secret in cluster.secrets:
        if not secret.steps or name in secret.steps:
            _give(task, secret)


def _size(task: dsl.PipelineTask, resources: ResourcesSpec) -> None:
    if resources.cpu:
        task.set_cpu_request(resources.cpu)
    if resources.memory:
        task.set_memory_request(resources.memory)
        task.set_memory_limit(resources.memory)


def _give(task: dsl.PipelineTask, secret: SecretSpec) -> None:
    from kfp import kubernetes

    if secret.environment:
        kubernetes.use_secret_as_env(
            task, secret.name, secret.environment, optional=secret.optional
        )
    if secret.mount_path:
        kubernetes.use_secret_as_volume(
            task, secret.name, secret.mount_path, optional=secret.optional
        )


def _mount(task: dsl.PipelineTask, claim: str) -> None:
    from kfp import kubernetes

    kubernetes.mount_pvc(task, pvc_name=claim, mount_path=str(MOUNT / claim))
