"""How far both versions are from the reference's outputs on its random models.

Largest absolute differences over ``tests/data/golden``, where the tests allow 1e-4.

    python -m benchmarks.golden
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from fgclip2_det import load_encoder
from fgclip2_det.fgclip2 import DualEncoder
from tests.golden_folders import GOLDEN, write_fgclip1


def worst(actual: Tensor, wanted: np.ndarray) -> float:
    return float((actual.float() - torch.from_numpy(wanted).float()).abs().max())


@torch.no_grad()
def differences(encoder: DualEncoder, folder: Path) -> dict[str, list[float]]:
    """Of every output of a folder, by kind."""
    expected: Mapping[str, np.ndarray] = np.load(folder / 'expected.npz')
    found: dict[str, list[float]] = {}
    for mode in ('short', 'box', 'long'):
        if f'ids_{mode}' in expected:
            embeds = encoder.encode_text(
                torch.from_numpy(expected[f'ids_{mode}']), mode
            )
            found[f'{mode} texts'] = [worst(embeds, expected[f'text_embeds_{mode}'])]
    for path in sorted(folder.glob('image_*.png')):
        i = path.stem.removeprefix('image_')
        batch = encoder.preprocess(path)
        embeds, grids = encoder.encode(batch)
        assert embeds is not None and grids is not None
        (regions,) = encoder.region_features(batch, [expected[f'boxes_{i}']])
        pairs = {'images': (embeds[0], f'image_embed_{i}')}
        pairs |= {'regions': (regions, f'region_{i}')}
        if f'dense_{i}' in expected:
            pairs |= {'dense maps': (grids[0].flatten(0, 1), f'dense_{i}')}
        for kind, (actual, name) in pairs.items():
            found.setdefault(kind, []).append(worst(actual, expected[name]))
    return found


def main() -> None:
    with TemporaryDirectory() as temporary:
        folders = {
            'FG-CLIP 2': GOLDEN / 'fgclip2_tiny',
            'FG-CLIP 1': write_fgclip1(Path(temporary) / 'fgclip1_tiny'),
        }
        for version, folder in folders.items():
            for kind, values in differences(load_encoder(folder), folder).items():
                print(f'{version} {kind:12s} {max(values):.1e} ({len(values)} files)')


if __name__ == '__main__':
    main()
