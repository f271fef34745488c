"""Documents, logits and options that the tests of DHPCLoss share."""

from itertools import product

import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import BootstrapOptions, NegativeOptions

B, N = 4, 11
# Document 0: three labels; 1: one; 2: none; 3: all but one.
POSITIVES = [{1, 4, 10}, {0}, set(), set(range(10))]
TARGETS = SparseTargets(
    *torch.tensor([(b, k) for b in range(B) for k in sorted(POSITIVES[b])]).T.contiguous()
)
BOOTSTRAPS = [
    BootstrapOptions(),
    BootstrapOptions(0.9, t_gate=5),
    *(
        BootstrapOptions(0.7, form=form, over=over)
        for form, over in product(["paper", "symmetric", "hard"], ["all", "sampled"])
    ),
]
NEGATIVES = [
    NegativeOptions(),
    *(
        NegativeOptions(0.4, sampler, scale, per)
        for sampler, scale, per in product(
            ["uniform", "bernoulli"], ["paper", "unbiased", "none"], ["example", "batch"]
        )
    ),
]


def random_logits(dtype=torch.float64, seed=0):
    return 3 * torch.randn(B, N, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def one_document(positives):
    labels = torch.tensor(sorted(positives), dtype=torch.int64)
    return SparseTargets(torch.zeros_like(labels), labels)
