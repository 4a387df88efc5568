"""The test pipeline of a config, for single images."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from PIL import Image

from fgclip2_det.apis.inputs import InputImage


class ImagePipeline:
    """What ``tools/test.py`` does with an image of the data set, for one given image.

    Images are loaded upright with Pillow, as ``OpenVocabLoadImage`` does. The files
    of a config with another loader are read by that one, so that the network gets the
    same pixels as in a test.

    Args:
        config: of a detector; its test data set's pipeline is used.

    Raises:
        ValueError: if the config has no test pipeline that begins with a loader.
    """

    def __init__(self, config: Config) -> None:
        steps = _steps(config)
        if not steps or 'LoadImage' not in _kind(steps[0]):
            raise ValueError(
                "the config's test pipeline must begin with a loader of images, got "
                f'{_kind(steps[0]) if steps else "no step"}; give a config with '
                "test_dataloader.dataset.pipeline as MMDetection's have it"
            )
        self.reads_files = _kind(steps[0]) != 'OpenVocabLoadImage'
        self._loader = Compose(steps[:1]) if self.reads_files else None
        rest = [step for step in steps[1:] if not _kind(step).startswith('Load')]
        self._rest = Compose(rest)

    def __call__(self, source: InputImage, image: Image.Image, image_id: Any) -> dict:
        """``inputs`` and ``data_samples`` of an image.

        Args:
            source: its file is read where the config's loader reads files.
            image: the loaded image.
            image_id: of the data sample.
        """
        results: dict[str, Any] = dict(img_id=image_id, img_path=source.path)
        if self._loader is not None and source.path is not None:
            results = self._loader(results)
            if results is None or results.get('img') is None:
                raise ValueError(f'image {source.name} cannot be read')
        else:
            results['img'] = np.ascontiguousarray(np.asarray(image)[..., ::-1])
            results['img_shape'] = results['ori_shape'] = image.size[::-1]
        data = self._rest(results)
        data['data_samples'].set_metainfo(
            dict(img_id=image_id, img_path=source.path or source.name)
        )
        return data


def _steps(config: Config) -> list[dict]:
    try:
        return copy.deepcopy(list(get_test_pipeline_cfg(config)))
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            'the config has no test_dataloader.dataset.pipeline, which images go '
            'through; give a whole config of MMDetection'
        ) from error


def _kind(step: dict) -> str:
    return str(step['type']).split('.')[-1]
