"""Support of this package's image loader in MMDetection's ``DetInferencer``."""

from __future__ import annotations

import sys
from typing import Any

OURS = 'OpenVocabLoadImage'


def install() -> None:
    """Let it replace our loader by its own, as it does with ``LoadImageFromFile``.

    Patches the module only if it has been imported already; imports nothing.
    """
    module = sys.modules.get('mmdet.apis.det_inferencer')
    if module is None or hasattr(module.DetInferencer, '_fgclip2_get_transform_idx'):
        return
    find = module.DetInferencer._get_transform_idx

    def _get_transform_idx(self: Any, pipeline_cfg: Any, name: Any) -> int:
        index = find(self, pipeline_cfg, name)
        if index == -1 and 'LoadImageFromFile' in name:
            return find(self, pipeline_cfg, (OURS,))
        return index

    module.DetInferencer._fgclip2_get_transform_idx = find
    module.DetInferencer._get_transform_idx = _get_transform_idx
