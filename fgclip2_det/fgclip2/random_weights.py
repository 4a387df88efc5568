"""Random initialisation of a model without weights."""

from __future__ import annotations

import zlib
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar('Model', bound=nn.Module)


@torch.no_grad()
def init_random(model: Model, generator: torch.Generator | None = None) -> Model:
    """Initialise every tensor from a random stream derived from its name.

    So one seed gives a tower the same weights with or without the other one, on every
    device. Values are drawn as float32 on the CPU, then rounded to each parameter's
    dtype, regardless of torch's defaults.
    """
    device = generator.device if generator is not None else 'cpu'
    seed = int(torch.randint(2**31, (), generator=generator, device=device))
    norms = (nn.LayerNorm,)
    scales = {
        f'{name}.weight' for name, m in model.named_modules() if isinstance(m, norms)
    }
    for name, parameter in model.named_parameters():
        if name.startswith('logit_scale'):
            parameter.fill_(4.6052)  # ln 100, where SigLIP 2 training ends
        elif name == 'logit_bias':
            parameter.fill_(-10.0)  # SigLIP (arXiv:2303.15343), section 3.2
        elif name in scales:
            parameter.fill_(1.0)
        elif parameter.ndim == 1:
            parameter.zero_()
        else:
            stream = torch.Generator('cpu').manual_seed(
                seed ^ zlib.crc32(name.encode())
            )
            std = parameter[0].numel() ** -0.5  # LeCun: unit variance stays unit
            values = torch.empty(parameter.shape, dtype=torch.float32, device='cpu')
            parameter.copy_(values.normal_(0, std, generator=stream))
    return model.eval()
