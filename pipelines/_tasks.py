"""Settings that tasks of our pipelines share."""

from kfp import dsl


def sized(
    task: dsl.PipelineTask,
    title: str,
    *,
    limit: str,
    memory: str = "1Gi",
    cpu: str = "500m",
) -> dsl.PipelineTask:
    """Return the task, named for people and with what it asks of a node.

    Args:
        task: The task.
        title: Its name in Kubeflow's graph.
        limit: Memory at most used, as a Kubernetes quantity.
        memory: Memory requested: what a table of some ten thousand rows takes. A node that has not
            so much to give away never runs the step, so it is far below the limit.
        cpu: Requested; not limited, because a limit only slows a step down.
    """
    task.set_display_name(title)
    task.set_cpu_request(cpu)
    task.set_memory_request(memory)
    task.set_memory_limit(limit)
    image = str(task.container_spec.image)
    if "@" in image:
        # A pod does not know the digest of its own image; decisions and evidence name it.
        task.set_env_variable("PENSTOCK_IMAGE", image)
    return task


def light(task: dsl.PipelineTask, title: str) -> dsl.PipelineTask:
    """Return the task sized for a step that computes little."""
    return sized(task, title, limit="1Gi", memory="512Mi", cpu="250m")


def network(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Return the task, tried up to three times: what it talks to may be away for a moment."""
    task.set_retry(num_retries=2, backoff_duration="5s", backoff_factor=2.0)
    return task
