"""Which of a module's weights a repair trains."""

from typing import Literal

from torch import nn

Layers = Literal["all", "last"]
"""``all`` weights that may be trained, or those of the ``last`` layer that has any.

The last layer alone is often enough to drop a spurious cue that the features below it see beside the right one
(Kirichenko et al., "Last layer re-training is sufficient for robustness to spurious correlations", ICLR 2023); it
cannot teach what the features do not show. Not in the paper.
"""


def trained_weights(module: nn.Module, layers: Layers) -> list[nn.Parameter]:
    """Return the parameters with ``requires_grad`` that are trained, in the module's order.

    The last layer is the last submodule, in the order of their definition, that holds such a parameter itself.
    """
    if layers == "all":
        return [parameter for parameter in module.parameters() if parameter.requires_grad]
    own = [[each for each in part.parameters(recurse=False) if each.requires_grad] for part in module.modules()]
    return next((weights for weights in reversed(own) if weights), [])
