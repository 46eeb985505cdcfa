"""The measured networks by kind: ours and the references."""

from experiments.bench.basis.bench_network import Network, Opener
from experiments.bench.networks.naive import open_naive
from experiments.bench.networks.ours import open_ours
from experiments.bench.networks.stock import open_stock, open_stock_tso

#: Kind -> function that brings it up.
NETWORKS: dict[str, Opener] = {
    "ours": open_ours,
    "stock": open_stock,
    "stock-tso": open_stock_tso,
    "naive": open_naive,
}

__all__ = ["NETWORKS", "Network", "Opener"]
