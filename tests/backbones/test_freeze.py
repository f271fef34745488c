"""A frozen encoder stays as it is while what stands on top learns."""

import torch

from hierarchy_lm.backbones import BackboneOptions, create_backbone
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.optimizers import OptimizerOptions, build_optimizer

OPTIONS = {"name": "tiny", "pretrained": "none"}


def texts() -> TokenBatch:
    ids = torch.randint(5, 50, (4, 9), generator=torch.Generator().manual_seed(0))
    return TokenBatch(ids, torch.zeros_like(ids), torch.ones_like(ids))


def trained(freeze: bool) -> tuple[dict, dict, torch.Tensor]:
    torch.manual_seed(0)
    backbone = create_backbone(BackboneOptions(**OPTIONS, freeze=freeze), 50, 0)
    module = torch.nn.ModuleDict({"backbone": backbone, "head": torch.nn.Linear(32, 3)}).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = build_optimizer(backbone, module, OptimizerOptions(lr=1e-2), fused=False)
    states = backbone(texts())
    module["head"](states).square().sum().backward()
    optimizer.step()
    return before, module.state_dict(), states


def test_only_the_head_learns_on_a_frozen_encoder():
    before, after, states = trained(freeze=True)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}
    assert not states.requires_grad  # no backward pass through the encoder


def test_the_encoder_learns_otherwise():
    before, after, _ = trained(freeze=False)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("backbone.encoder.encoder.layer.0") for name in changed)


def test_a_frozen_encoder_has_no_dropout_in_train_mode():
    frozen = create_backbone(BackboneOptions(**OPTIONS, freeze=True), 50, 0).train()
    assert torch.equal(frozen(texts()), frozen(texts()))
    free = create_backbone(BackboneOptions(**OPTIONS), 50, 0).train()
    assert not torch.equal(free(texts()), free(texts()))
