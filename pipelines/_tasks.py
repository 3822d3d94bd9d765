"""Settings that tasks of our pipelines share."""

from kfp import dsl


def sized(task: dsl.PipelineTask, title: str, *, memory: str, cpu: str = "1") -> dsl.PipelineTask:
    """Return the task, named for people and with what it asks of a node.

    Args:
        task: The task.
        title: Its name in Kubeflow's graph.
        memory: Requested and at most used, as a Kubernetes quantity.
        cpu: Requested; not limited, because a limit only slows a step down.
    """
    task.set_display_name(title)
    task.set_cpu_request(cpu)
    task.set_memory_request(memory)
    task.set_memory_limit(memory)
    return task


def light(task: dsl.PipelineTask, title: str) -> dsl.PipelineTask:
    """Return the task sized for a step that computes little."""
    return sized(task, title, memory="1Gi", cpu="500m")


def network(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Return the task, tried up to three times: what it talks to may be away for a moment."""
    task.set_retry(num_retries=2, backoff_duration="5s", backoff_factor=2.0)
    return task
