"""A Ray cluster of several nodes on this machine; each node has its own folder of copies, as machines have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from tests.support.command import ROOT


class Nodes:
    """A cluster whose nodes keep their copies below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self.cluster = Cluster()
        self.head = self.add()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, cpus: int = 2, gpus: int = 0, **environment: str) -> Any:
        self._count += 1
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        own = {"UNDERSTUDY_CACHE": str(self._folder / f"node{self._count}"), "PYTHONPATH": paths, **environment}
        options: dict[str, Any] = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "memory": max(8, 4 * cpus) << 30,
            "env_vars": own,
            "include_dashboard": False,
        }
        while True:
            try:
                return self.cluster.add_node(**options)
            except Exception as error:
                if "timed out during startup" not in str(error):
                    raise
                # Ray itself waits for half a minute, which a busy machine may need
                if self.cluster.head_node is None:
                    self.cluster = Cluster()

    def kill(self, node: Any) -> None:
        """End the node and its processes as a power cut does."""
        self.cluster.remove_node(node, allow_graceful=False)


@contextmanager
def nodes(folder: Path) -> Iterator[Nodes]:
    made = Nodes(folder)
    try:
        yield made
    finally:
        ray.shutdown()
        made.cluster.shutdown()
