"""Weight-space ensembles of the released and the fine-tuned encoder (WiSE-FT)."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from terminaltables import AsciiTable
from torch import Tensor

from fgclip2_det.engine.hooks.metrics_json_hook import plain_metrics
from fgclip2_det.engine.retention import RetentionTest
from fgclip2_det.engine.runner import build_runner
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.models.backbones.lora import merge_lora
from fgclip2_det.models.checkpoints import check_weights

PREFIX = 'backbone.'
MEASURE_WHEN = ('type', 'interval', 'priority')  # options of the hook only
_WRITING_HOOKS = ('OpenVocabVisualizationHook', 'OpenVocabMetricsJsonHook')


class WiseFT:
    """A detector whose encoder is (1 - alpha) * zero-shot + alpha * fine-tuned.

    All other weights are the checkpoint's. LoRA adapters are merged first, so that all
    results have the released parameter names and need no peft.

    Args:
        backbone: config of the trained ``FGCLIP2ViT``; its ``encoder`` has the
            zero-shot weights.
        state_dict: weights of the fine-tuned detector.
        source: name of the checkpoint, for messages.

    Attributes:
        zero_shot, fine_tuned: weights of the backbone, by name.

    Raises:
        ValueError: for another backbone, weights that do not fit, or an encoder that
            training did not change.

    Example:
        >>> wise = WiseFT(cfg.model.backbone, checkpoint['state_dict'], 'epoch_3.pth')
        >>> half = wise.state_dict(0.5)

    Reference: WiSE-FT (arXiv:2109.01903), section 3, equation 1.
    """

    def __init__(
        self, backbone: Mapping, state_dict: Mapping[str, Tensor], source: Path | str
    ) -> None:
        init_default_scope('mmdet')
        if str(backbone['type']).split('.')[-1] not in (
            'FGCLIP1ViT', 'FGCLIP2ViT'
        ):  # fmt: skip
            raise ValueError(
                f'WiSE-FT needs an FGCLIP2ViT as backbone, got {backbone["type"]}'
            )
        own = {
            name.removeprefix(PREFIX): value
            for name, value in state_dict.items()
            if name.startswith(PREFIX)
        }
        tuned = MODELS.build(dict(backbone))
        check_weights(tuned, own, source)
        tuned.load_state_dict(own)
        merge_lora(tuned)
        self.fine_tuned = tuned.state_dict()
        self.zero_shot = MODELS.build({**backbone, 'lora': None}).state_dict()
        if all(torch.equal(w, self.zero_shot[n]) for n, w in self.fine_tuned.items()):
            raise ValueError(
                f'the encoder in {source} has the zero-shot weights, nothing to '
                'interpolate; train it with backbone.frozen_stages=-1 or backbone.lora'
            )
        self._rest = {
            name: value
            for name, value in state_dict.items()
            if not name.startswith(PREFIX)
        }

    def state_dict(self, alpha: float) -> dict[str, Tensor]:
        """Weights of the detector, for a config with ``backbone.lora=None``.

        Args:
            alpha: 0 gives exactly the zero-shot encoder, 1 exactly the fine-tuned one.

        Raises:
            ValueError: if ``alpha`` is outside [0, 1].
        """
        if not 0 <= alpha <= 1:
            raise ValueError(f'alpha must be in [0, 1], got {alpha}')
        mixed = {
            PREFIX + name: torch.lerp(self.zero_shot[name], value, alpha)
            for name, value in self.fine_tuned.items()
        }
        return {**self._rest, **mixed}


def save_checkpoint(
    path: Path | str, state_dict: Mapping[str, Tensor], meta: Mapping, cfg: Config
) -> None:
    """Save weights and their config in the format that ``tools/test.py`` reads.

    Args:
        path: file to write, replaced atomically.
        state_dict: from :meth:`WiseFT.state_dict`.
        meta: of the fine-tuned checkpoint.
        cfg: from :func:`without_lora`.
    """
    buffer = io.BytesIO()
    meta = {**meta, 'cfg': cfg.pretty_text}
    torch.save(dict(meta=meta, state_dict=dict(state_dict)), buffer)
    write_atomic(path, buffer.getvalue())


def without_lora(cfg: Config) -> Config:
    """Copy of a config whose backbone has no adapters."""
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.lora = None
    return cfg


def evaluate(
    cfg: Config, wise: WiseFT, alphas: Sequence[float]
) -> Iterator[dict[str, float | None]]:
    """Run the config's test loop and its retention test for every alpha.

    The retention test is that of the config's ``ZeroShotRetentionHook``; if it has
    none, the novel classes of the test data are used.

    Args:
        cfg: from :func:`without_lora`.
        wise: weights to interpolate.
        alphas: values in [0, 1].

    Yields:
        ``{'alpha': ..., 'retention_top1': percent, metric: value, ...}``; None where
        a metric is not finite.
    """
    cfg = copy.deepcopy(cfg)
    options = dict(dataset=cfg.test_dataloader.dataset)
    hooks = []
    for hook in cfg.get('custom_hooks') or []:
        kind = str(hook['type']).split('.')[-1]
        if kind == 'ZeroShotRetentionHook':
            options = {k: v for k, v in hook.items() if k not in MEASURE_WHEN}
        elif kind not in _WRITING_HOOKS:  # these would replace files of the training
            hooks.append(hook)
    cfg.custom_hooks, cfg.load_from, cfg.resume = hooks, None, False
    runner = build_runner(cfg)
    retention = RetentionTest(**options)
    for alpha in alphas:
        state_dict = wise.state_dict(alpha)
        check_weights(runner.model, state_dict, 'the mixture')
        runner.model.load_state_dict(state_dict)
        metrics = plain_metrics(runner.test())
        top1 = retention.top1(runner.model)
        yield dict(alpha=alpha, retention_top1=top1, **metrics)


def table(rows: Sequence[Mapping[str, float | None]]) -> str:
    """Table of the rows of :func:`evaluate`: AP on base and novel classes, retention.

    If the metrics have no base/novel split, all of them are shown.
    """
    metrics = [name for name in rows[0] if name not in ('alpha', 'retention_top1')]
    split = [n for n in metrics if n.split('/')[-1].startswith(('base_', 'novel_'))]
    shown = split or metrics
    head = ['alpha', *(name.split('/')[-1] for name in shown), 'retention (%)']
    body = [
        [
            f'{row["alpha"]:g}',
            *('-' if row[name] is None else f'{row[name]:.4f}' for name in shown),
            f'{row["retention_top1"]:.2f}',
        ]
        for row in rows
    ]
    return AsciiTable([head, *body]).table
