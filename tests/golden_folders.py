"""Folders of the reference's random models, with its outputs (``data/golden``)."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

GOLDEN = Path(__file__).parent / 'data' / 'golden'
TOKENS = 'text_model.embeddings.token_embedding.weight'


def write_fgclip1(folder: Path) -> Path:
    """The folder of version 1 in the released layout: all rows of its token table that
    are not in the file of its tensors are zero."""
    source = GOLDEN / 'fgclip1_tiny'
    folder.mkdir(parents=True, exist_ok=True)
    stored = dict(np.load(source / 'tensors.npz'))
    rows, known = stored.pop('rows'), stored[TOKENS]
    table = np.zeros((49_408, known.shape[1]), known.dtype)
    table[rows] = known
    tensors = {n: torch.from_numpy(x) for n, x in (stored | {TOKENS: table}).items()}
    save_file(tensors, folder / 'model.safetensors')
    for path in source.iterdir():
        if path.name != 'tensors.npz':
            (folder / path.name).write_bytes(path.read_bytes())
    return folder
