"""Cache a frozen encoder's feature maps before training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dataset import BaseDataset
from mmengine.dist import barrier, get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from fgclip2_det.datasets.feature_cache import (
    FeatureCache,
    FeatureWriter,
    check_disk,
    image_digests,
    view_key,
)
from fgclip2_det.datasets.transforms import (
    FGCLIP2ApplyView,
    FGCLIP2LoadView,
    UnreadableImageError,
)
from fgclip2_det.fgclip2.preprocess import target_grid
from fgclip2_det.io.locks import FolderUse, locked
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.models import FGCLIP2ViT

PIPELINE = ['FGCLIP2LoadView', 'FGCLIP2ApplyView', 'FGCLIP2PackView']
ANNOTATIONS = ['LoadAnnotations', 'FilterAnnotations']
DTYPES = {'bfloat16': torch.bfloat16, 'float32': torch.float32}


@HOOKS.register_module()
class FGCLIP2FeatureCacheHook(Hook):
    """Compute the missing feature maps before training and give them to the pipeline.

    The training pipeline must be ``FGCLIP2LoadView``, ``LoadAnnotations``,
    ``FGCLIP2ApplyView``, ``FGCLIP2PackView``. If filling the cache is interrupted, the
    next run continues it. Validation and test still read images. Maps are keyed by the
    content of an image file: a file that was replaced is encoded again, one that was
    only moved is not. With ``FGCLIP2_CACHE_SIZE`` set, maps that this training does not
    need and that were used least recently make room, unless another training uses the
    folder.

    Args:
        folder: folder of the shards; trainings with the same encoder may share it.
        dtype: 'bfloat16', or 'float32' for exact maps and twice the disk space.
        num_workers: workers of the loader that reads the images to encode.

    Raises:
        ValueError: if the encoder is trained, the detector needs the dense map, the
            pipeline is another one, disk space is too low, or the folder was written
            for another encoder.
    """

    priority = 'VERY_HIGH'  # before other hooks wrap the data set

    def __init__(
        self, folder: str, dtype: str = 'bfloat16', num_workers: int = 0
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {list(DTYPES)}, got {dtype!r}')
        self.folder, self.dtype, self.num_workers = Path(folder), dtype, num_workers
        self.use: FolderUse | None = None

    def before_train(self, runner: Runner) -> None:
        """Fill the cache and set it in the pipeline."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        backbone = _frozen_backbone(model)
        dataset = _innermost(runner.train_dataloader.dataset)
        load = _load_view(dataset)
        fingerprint = f'{maps_digest(backbone)} {self.dtype}'
        if is_main_process():  # for all processes of this training
            with locked(self.folder):
                self.use = FolderUse(self.folder)
        cache = FeatureCache(self.folder, fingerprint, DTYPES[self.dtype])
        views = ViewsToFill(dataset, load, cache.keys())
        barrier()  # every process must have read the index before a shard goes
        if is_main_process():
            self._make_room(runner, cache, views, views.bytes(backbone, cache.dtype))
        if len(views):
            needed = views.bytes(backbone, cache.dtype)
            runner.logger.info(
                f'{len(views):,} of {views.total:,} views are encoded now, '
                f'{needed / 1e9:.2f} GB in {self.folder}'
            )
            check_disk(self.folder, needed)
        barrier()  # every process must list the missing views before one writes
        if len(views):
            self._fill(model, backbone, cache, views)
        barrier()
        cache.refresh()
        load.cache, load.digests = cache, views.digests
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):  # its workers have already started
            loop.dataloader._iterator = None
            loop.dataloader_iterator = type(loop.dataloader_iterator)(loop.dataloader)

    def after_train(self, runner: Runner) -> None:
        """Let others remove the maps."""
        if self.use is not None:
            self.use.end()

    def _make_room(
        self, runner: Runner, cache: FeatureCache, views: ViewsToFill, needed: int
    ) -> None:
        assert self.use is not None
        with locked(self.folder):
            removed = cache.make_room(needed, views.keys, self.use.is_shared())
        if removed:
            runner.logger.info(
                f'{removed / 1e9:.3f} GB of maps that were not used lately are removed '
                f'from {self.folder}'
            )

    @torch.no_grad()
    def _fill(
        self,
        model: BaseModel,
        backbone: FGCLIP2ViT,
        cache: FeatureCache,
        views: ViewsToFill,
    ) -> None:
        rank, world = get_dist_info()
        own = torch.utils.data.Subset(views, range(rank, len(views), world))
        loader = DataLoader(
            own, batch_size=None, num_workers=self.num_workers, collate_fn=_same
        )
        training = backbone.training
        backbone.eval()
        with FeatureWriter(cache, rank) as writer:
            for key, image, size in tqdm(loader, 'encoding', disable=None):
                if image is None:  # cannot be read; the data set skips it
                    continue
                data = model.data_preprocessor(dict(inputs=[image], data_samples=None))
                maps, _ = backbone.extract(data['inputs'], with_dense=False)
                writer.add(key, torch.cat(maps, 1)[0], size)
        backbone.train(training)


class ViewsToFill(Dataset):
    """Views of a data set's images that a cache does not have yet.

    Args:
        dataset: data set whose pipeline begins with ``FGCLIP2LoadView``.
        load: that transform.
        known: keys in the cache.

    Attributes:
        digests: path of an image -> digest of its file.
        keys: of all views, including those in the cache.
        total: number of views.
    """

    def __init__(self, dataset: BaseDataset, load: FGCLIP2LoadView, known: set) -> None:
        self.dataset, self.load = dataset, load
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        paths = (info['img_path'] for info in infos)
        self.digests = image_digests(paths, load.load.backend_args)
        views = {
            view_key(self.digests[info['img_path']], *view): (info, view)
            for info in infos
            for view in load.views
        }
        self.keys, self.total = set(views), len(views)
        self.missing = [(k, *v) for k, v in views.items() if k not in known]

    def __len__(self) -> int:
        return len(self.missing)

    def __getitem__(
        self, index: int
    ) -> tuple[str, Tensor | None, tuple[int, int] | None]:
        """Key, image (3, H, W) uint8 BGR, and the original size (h, w)."""
        key, info, view = self.missing[index]
        keys = ('img_path', 'img_id', 'width', 'height')
        results = {k: info[k] for k in keys if k in info} | {'wanted_view': view}
        try:
            results = self.load(results)
        except UnreadableImageError:
            if getattr(self.dataset, 'on_bad_image', 'raise') == 'raise':
                raise
            return key, None, None
        size = results['ori_shape']
        image = FGCLIP2ApplyView()(results)['img']
        return key, torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous(), size

    def bytes(self, backbone: FGCLIP2ViT, dtype: torch.dtype) -> int:
        """Disk space in bytes for the missing maps."""
        channels = backbone.embed_dims * backbone.num_maps
        patches = 0
        for _, info, (budget, _) in self.missing:
            h, w = target_grid(info['height'], info['width'], budget)
            patches += h * w
        return patches * channels * dtype.itemsize


def maps_digest(backbone: FGCLIP2ViT) -> str:
    """SHA-256 of the weights and options that determine a view's maps."""
    tower = backbone.vision_model
    options = (
        'FGCLIP2ApplyView 1',  # increase the number when that transform changes
        asdict(backbone.vision_config),
        backbone.out_indices,
        tower.window_size,
        tower.encoder.global_blocks,
    )
    return encoder_digest(tower, options)


def _frozen_backbone(model: BaseModel) -> FGCLIP2ViT:
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, FGCLIP2ViT):
        raise ValueError(
            'a feature cache needs an FGCLIP2ViT as model.backbone, got '
            f'{type(backbone).__name__}'
        )
    if not backbone.frozen or any(p.requires_grad for p in backbone.parameters()):
        raise ValueError(
            'a feature cache is for a frozen encoder; set backbone.frozen_stages='
            f'{backbone.num_layers}, or leave FGCLIP2FeatureCacheHook out'
        )
    region_loss = getattr(getattr(model, 'roi_head', None), 'region_loss_weight', None)
    if region_loss:
        raise ValueError(
            'a frozen encoder learns nothing from roi_head.region_loss_weight; set it '
            'to 0'
        )
    if backbone.output != 'tokens' and region_loss is None:
        raise ValueError(
            'a feature cache holds no dense maps, and this detector trains on them; '
            f"set backbone.output='tokens' instead of {backbone.output!r}, or leave "
            'FGCLIP2FeatureCacheHook out'
        )
    return backbone


def _innermost(dataset: Any) -> BaseDataset:
    """The data set inside wrappers such as ``RepeatDataset``."""
    while not hasattr(dataset, 'pipeline') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset


def _load_view(dataset: BaseDataset) -> FGCLIP2LoadView:
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
    kinds = [type(t).__name__ for t in transforms]
    views = [kind for kind in kinds if kind not in ANNOTATIONS]
    if views != PIPELINE or [*kinds[:1], *kinds[-1:]] != PIPELINE[::2]:
        raise ValueError(
            f'a feature cache needs a training pipeline of {", ".join(PIPELINE)}, '
            f'with nothing but {" and ".join(ANNOTATIONS)} between them (what moves '
            'pixels would not move the maps); this one has '
            f'{", ".join(kinds) or type(dataset).__name__}'
        )
    return transforms[0]


def _same(item: object) -> object:
    return item
