"""Image sizes as given in a data set's annotation file."""

from __future__ import annotations

from typing import Any

from mmengine.runner import BaseLoop

Size = tuple[float, float]


def annotated_sizes(loop: BaseLoop, count: int | None = None) -> dict[str, Size]:
    """Path -> (width, height) of the data set that a loop reads.

    Args:
        loop: loop of a runner; empty result if its data set has no image sizes.
        count: number of entries to read, from the first; None for all.
    """
    dataset: Any = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
    if not hasattr(dataset, 'get_data_info'):
        return {}
    entries = (dataset.get_data_info(i) for i in range(len(dataset))[:count])
    return {
        str(entry['img_path']): (entry['width'], entry['height'])
        for entry in entries
        if {'img_path', 'width', 'height'} <= entry.keys()
    }
