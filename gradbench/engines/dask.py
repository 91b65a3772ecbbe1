"""The Dask engine: an existing scheduler, or one started in this process."""

import contextlib
from collections.abc import Callable
from typing import Any

from gradbench.engines.worker import keep_memory

MISSING = "the dask engine needs the dask extra: pip install 'pytest-gradbench[dask]'"
WAIT = 30
"""Seconds in which a scheduler must answer."""


SETTINGS = {
    # after a worker has died, the controller repeats its call, not the scheduler
    "distributed.scheduler.allowed-failures": 0,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.daemon": False,  # optimizers may start processes
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**30,
}


def connect(arguments: str) -> tuple[Any, Callable[[], int | None], int]:
    """Return a Dask executor, a function that counts its workers, and the number started here.

    `arguments` is a scheduler's address (`tcp://host:8786`) or `local:N`. Raises ImportError
    without the extra, ValueError for wrong ones or if no scheduler answers, each in one line.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise ImportError(MISSING) from None
    if not arguments:
        raise ValueError("--gb-engine=dask: say where, dask:tcp://HOST:PORT or dask:local:N")
    kind, _, count = arguments.partition(":")
    cluster, ours = None, 0
    dask.config.set(SETTINGS)
    if kind == "local":
        ours = int(count) if count.isdecimal() else 0
        if not ours:
            raise ValueError(f"--gb-engine=dask:{arguments}: write dask:local:N, N from 1 on")
        one = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
        cluster = LocalCluster(n_workers=ours, **one)
    try:
        client = Client(cluster or arguments, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        if cluster is not None:
            cluster.close(timeout=5)
        raise ValueError(
            f"--gb-engine=dask:{arguments}: no scheduler answers there ({type(error).__name__})"
        ) from None
    client.run(keep_memory)
    known = client.scheduler_info(n_workers=-1)["workers"]
    ready = [client.submit(prepare, workers=[each], pure=False) for each in known]

    def workers() -> int | None:
        with contextlib.suppress(Exception):
            return len(client.scheduler_info(n_workers=-1)["workers"])
        return None

    return Dask(client, cluster, ready), workers, ours


def prepare() -> None:
    """Import torch and the modules that run items, while the controller imports its own."""
    import gradbench.protocol.run_item  # noqa: F401


class Dask:
    """An executor on a Dask client; `shutdown` also ends a cluster that was started here."""

    def __init__(self, client: Any, cluster: Any, ready: list[Any]) -> None:  # noqa: ANN401
        self.client, self.cluster = client, cluster
        self.ready = ready  # Dask drops a call when its future is released

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:  # noqa: ANN401
        """Submit a call to a worker."""
        return self.client.submit(function, *args, pure=False, retries=0)

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """Close the client, so that the scheduler drops its calls, and the cluster, if any."""
        del wait, cancel_futures
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self.client.close(timeout=5)
            if self.cluster is not None:
                self.cluster.close(timeout=5)
