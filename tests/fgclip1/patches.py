"""Folders of FG-CLIP 1 with patches of another size."""

import json
import shutil
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file, save_file

WEIGHT = 'vision_model.embeddings.patch_embedding.weight'


def with_patches(folder: Path, out: Path, size: int) -> Path:
    """A copy of a folder whose patches have ``size`` pixels a side, on its own grid."""
    shutil.copytree(folder, out)
    config = json.loads((out / 'config.json').read_text())
    vision = config['vision_config']
    side = vision['image_size'] // vision['patch_size']
    vision.update(patch_size=size, image_size=side * size)
    (out / 'config.json').write_text(json.dumps(config))
    state = load_file(out / 'model.safetensors')
    state[WEIGHT] = F.adaptive_avg_pool2d(state[WEIGHT], size).contiguous()
    save_file(state, out / 'model.safetensors')
    return out
