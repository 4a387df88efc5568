"""Hook that sets seed, epoch and position of a data set of shards."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner

from pretrain.data.shards import ShardDataset


@HOOKS.register_module()
class ShardProgressHook(Hook):
    """Seed, epoch and position of a :class:`~pretrain.data.shards.ShardDataset`.

    A stream has no sampler for MMEngine to talk to. This hook gives it the run's seed
    (where the config fixes none) and each epoch's number, and after a resume it
    skips what was read before without reading it again. With another data set it
    does nothing.

    Raises:
        ValueError: if an iteration-based loop has a stream that ends, or an
            epoch-based one a stream that does not.

    Example:
        >>> custom_hooks = [dict(type='ShardProgressHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Set the seed, and where to start."""
        loop = runner.train_loop
        dataset = loop.dataloader.dataset
        if not isinstance(dataset, ShardDataset):
            return
        by_iteration = isinstance(loop, IterBasedTrainLoop)
        if dataset.infinite != by_iteration:
            kind = 'an iteration' if by_iteration else 'an epoch'
            raise ValueError(
                f'{kind}-based loop needs infinite={by_iteration} in ShardDataset, got '
                f'{dataset.infinite}'
            )
        if not dataset.has_seed:
            dataset.set_seed(runner.seed)
        # an MMEngine without this option reads its way to the position by itself
        if by_iteration and loop.iter and hasattr(loop, 'fast_forward_on_resume'):
            dataset.skip(loop.iter * dataset.batch_size)
            loop.fast_forward_on_resume = True

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the epoch."""
        dataset = runner.train_loop.dataloader.dataset
        if isinstance(dataset, ShardDataset) and not dataset.infinite:
            dataset.set_epoch(runner.epoch)
