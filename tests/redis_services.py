"""Redis servers that belong together: a cluster, a primary that a Sentinel looks after. See tests/services.py."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.services import HOST, RedisServer, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.certificates import Certificate
    from tests.proxies import Proxy


class ClusterNode(RedisServer):
    """One node of a Redis Cluster."""

    name = "redis-cluster"

    def __init__(self, certificate: Certificate | None = None) -> None:
        super().__init__(certificate=certificate)
        self.bus = free_port()

    def settings(self) -> dict[str, str]:
        return super().settings() | {
            "tls-cluster": "no" if self.certificate is None else "yes",
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus),
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": "600",
            "cluster-require-full-coverage": "no",
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
        }


class SentinelServer(RedisServer):
    """A Redis Sentinel that looks after the primary behind *way*, alone, and loses its patience soon."""

    name = "redis-sentinel"

    def __init__(self, way: Proxy, certificate: Certificate | None = None) -> None:
        super().__init__(certificate=certificate)
        self.way = way
        self.service = f"shop{self.port}"

    def prepare(self) -> None:
        assert self.directory is not None
        lines = [
            f"port {self.port}",
            f"bind {self.host}",
            f"sentinel monitor {self.service} {self.host} {self.way.port} 1",
            f"sentinel down-after-milliseconds {self.service} 300",
            f"sentinel failover-timeout {self.service} 3000",
            *(f"{name} {value}" for name, value in self.settings().items()),
        ]
        (self.directory / "sentinel.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [self.program() or "redis-server", "sentinel.conf", "--sentinel"]

    @property
    def primary_port(self) -> int:
        """The port of the primary, as this one sees it."""
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service).split()[1])

    def wait_for_replica(self) -> None:
        """Wait until there is one to promote."""
        wait_for(lambda: "role-reported\nslave" in self.ask("SENTINEL", "REPLICAS", self.service))


class RedisCluster:
    """A Redis Cluster of three primaries, the first of which may have a replica."""

    SLOTS = 16384

    def __init__(self, replicas: int = 0, certificate: Certificate | None = None) -> None:
        self.primaries = [ClusterNode(certificate) for _ in range(3)]
        self.replicas = [ClusterNode(certificate) for _ in range(replicas)]

    @property
    def nodes(self) -> list[ClusterNode]:
        """All of its servers."""
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        """The address of one of the nodes."""
        return self.primaries[1].url

    def start(self) -> None:
        """Start the nodes, and wait until each of them knows the whole cluster."""
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.primaries):
            first, end = (self.SLOTS * place // 3 for place in (number, number + 1))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "ADDSLOTS", *range(first, end))
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", HOST, self.primaries[0].public_port, self.primaries[0].bus)
        wait_for(lambda: all(self.is_whole(node) for node in self.nodes))
        for node in self.replicas:
            node.ask("CLUSTER", "REPLICATE", self.primaries[0].ask("CLUSTER", "MYID"))
        wait_for(
            lambda: (
                all("link_status:up" in node.ask("INFO") for node in self.replicas)
                and all(
                    node.ask("CLUSTER", "NODES").count("slave") == len(self.replicas)
                    for node in self.nodes
                )
            )
        )

    def is_whole(self, node: ClusterNode) -> bool:
        """Whether *node* knows all others, and nobody is thought to be away."""
        known = node.ask("CLUSTER", "NODES").splitlines()
        well = [line for line in known if " connected" in line and "handshake" not in line]
        return (
            len(known) == len(well) == len(self.nodes)
            and "cluster_state:ok" in node.ask("CLUSTER", "INFO")
            and f"cluster_slots_assigned:{self.SLOTS}" in node.ask("CLUSTER", "INFO")
        )

    def owner_of(self, key: str) -> ClusterNode:
        """The primary that says that it holds *key*."""
        slot = int(self.primaries[-1].ask("CLUSTER", "KEYSLOT", key))
        return self.owner_of_slot(slot)

    def owner_of_slot(self, slot: int) -> ClusterNode:
        """The primary that says that it holds *slot*."""
        for node in self.nodes:
            for line in node.ask("CLUSTER", "NODES").splitlines() if node.running else ():
                ranges = [part.split("-") for part in line.split()[8:] if part[0] != "["]
                if "myself,master" in line and any(
                    int(ends[0]) <= slot <= int(ends[-1]) for ends in ranges
                ):
                    return node
        raise LookupError(slot)

    @contextmanager
    def moving(self, key: str) -> Iterator[Callable[[str], None]]:
        """Move the slot of *key* to another primary: keys by the function that the body gets, at its end the rest."""
        source = self.owner_of(key)
        target = next(node for node in self.primaries if node is not source)
        slot = source.ask("CLUSTER", "KEYSLOT", key)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))

        def move(name: str) -> None:
            source.ask("MIGRATE", HOST, target.port, name, 0, 1000, "REPLACE")

        yield move
        for name in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000).splitlines():
            move(name)
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.stop()
