"""MLM heads of methods that score nodes with one (HPT, HBGL)."""

from logging import getLogger

from hierarchy_lm.backbones import Backbone, BackboneOptions, find_mlm_head
from hierarchy_lm.nn import MLMHead

LOG = getLogger(__name__)


def create_mlm_head(backbone: Backbone, options: BackboneOptions) -> MLMHead:
    """The MLM head that the backbone was trained with, else a random one; the log says which.

    Args:
        backbone: The encoder.
        options: What it was created from.

    Raises:
        UserError: If there is a head that cannot be read.
    """
    rows, width = backbone.word_embeddings.shape
    head = MLMHead(backbone.hidden_size, width, rows)
    found = find_mlm_head(options)
    shapes = {name: value.shape for name, value in head.state_dict().items()}
    if {name: value.shape for name, value in found.weights.items()} == shapes:
        head.load_state_dict(found.weights)
        LOG.info(f"{found.source}: its MLM head is taken over")
    else:
        LOG.info(f"{found.source}: no MLM head that fits; it starts from random weights")
    return head
