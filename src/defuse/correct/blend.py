"""Part of the way from the given weights to the tuned ones."""

import copy

import torch

from defuse.classifiers import TorchClassifier


@torch.no_grad()
def blend(given: TorchClassifier, tuned: TorchClassifier, share: float) -> TorchClassifier:
    """Return a model whose weights lie between two models of one architecture.

    Fine-tuning moves along a path on which the old task is often kept longest and the new one learnt first, so that a
    model part of the way has nearly all of both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022;
    Ilharco et al., "Patching open-vocabulary models by interpolating weights", NeurIPS 2022). Not in the paper.

    Args:
        given: the model at share 0; stays unchanged.
        tuned: the model at share 1; stays unchanged, and comes back itself at that share.
        share: of the way, in [0, 1]. Whole numbers among the buffers are the tuned model's.
    """
    if share == 1:
        return tuned
    module = copy.deepcopy(tuned.module)
    old, new = given.module.state_dict(), tuned.module.state_dict()  # a weight may stand there under two names
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.lerp(old[name], new[name], share))
    return tuned.with_module(module)
