"""The ways of distributing training: one file per family, each after its paper."""

from edgenet.schemes.bench import Role, Scheme
from edgenet.schemes.centralized import CENTRALIZED, LOCAL
from edgenet.schemes.chain import D_SGD
from edgenet.schemes.data_parallel import DATA_PARALLEL
from edgenet.schemes.edge_learning import EDGE_LEARNING
from edgenet.schemes.federated import FEDAVG, FEDPROX
from edgenet.schemes.gfl import GFL
from edgenet.schemes.images import TRANSFER_IMAGES
from edgenet.schemes.parallel import FPL, SL_VERTICAL
from edgenet.schemes.pipeline import PIPELINES
from edgenet.schemes.variants import SPLIT

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        CENTRALIZED,
        FEDAVG,
        FEDPROX,
        *SPLIT,
        FPL,
        SL_VERTICAL,
        TRANSFER_IMAGES,
        GFL,
        D_SGD,
        *EDGE_LEARNING,
        *PIPELINES,
        LOCAL,
        DATA_PARALLEL,
    )
}
"""Every scheme by the name that `train.scheme` takes."""

__all__ = ["SCHEMES", "Role", "Scheme"]
