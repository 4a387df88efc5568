"""The same training on one process and on several: losses, time, memory.

The global batch is the same, and nothing random depends on the process: images are
not shuffled by shape or flipped, regions are drawn by ``OpenVocabSeededSampler``. The
several talk through gloo on CPUs. Each loss is the mean over processes.

An untrained RPN scores thousands of boxes almost alike: rounding alone decides which
of them become regions, and the box head's losses part after a step or two. With
--fixed-proposals the RPN trains as ever and regions are drawn by image instead.

    python -m benchmarks.processes \\
        configs/ov_coco/fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py --iterations 50 \\
        --cfg-options data_root=DIR model.backbone.encoder.pretrained=FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

from fgclip2_det.cli.parsing import KeyValue


def worker(args: argparse.Namespace) -> None:
    """Train as one of the processes; write what was measured."""
    import torch
    from mmdet.registry import HOOKS
    from mmengine.hooks import Hook

    from fgclip2_det.engine.config import load_config
    from fgclip2_det.engine.runner import build_runner

    torch.set_num_threads(args.threads)
    rank, world = (int(os.environ.get(k, d)) for k, d in
                   (('RANK', 0), ('WORLD_SIZE', 1)))  # fmt: skip

    @HOOKS.register_module()
    class RecordHook(Hook):
        def before_train(self, runner) -> None:
            if args.fixed_proposals:
                model = getattr(runner.model, 'module', runner.model)
                fix_proposals(model.rpn_head)

        def before_train_iter(self, *_, **__) -> None:
            self.start = time.perf_counter()

        def after_train_iter(self, runner, *_, outputs=None, **__) -> None:
            record = {k: float(v.detach()) for k, v in outputs.items() if 'loss' in k}
            record['seconds'] = time.perf_counter() - self.start
            records.append(record)

    records: list[dict] = []
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = 'pytorch' if world > 1 else 'none'
    loader = cfg.train_dataloader
    loader.batch_size, loader.num_workers = args.batch // world, 0
    loader.persistent_workers = False
    loader.sampler = dict(type='InfiniteSampler', shuffle=True, seed=0)
    loader.batch_sampler = None
    for step in loader.dataset.pipeline:
        if step.type == 'RandomFlip':
            step.prob = 0.0
    for part in ('rpn', 'rcnn'):
        cfg.model.train_cfg[part].sampler.type = 'OpenVocabSeededSampler'
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=args.iterations)
    cfg.param_scheduler = [
        s for s in cfg.param_scheduler if s['type'] == 'LinearLR'
    ]  # epochs mean another number of steps here
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=10**9)
    cfg.custom_hooks.append(dict(type='RecordHook'))
    cfg.work_dir = f'{args.worker}/work{world}'
    build_runner(cfg).train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    content = json.dumps(dict(records=records, peak_gb=peak))
    Path(args.worker, f'{world}_{rank}.json').write_text(content)


def fix_proposals(rpn_head) -> None:
    """The head's losses are its own, its proposals 300 boxes that follow from the
    image's id."""
    import torch
    from mmengine.structures import InstanceData

    def loss_and_predict(x, samples, proposal_cfg=None):
        return rpn_head.loss(x, samples), [draw(sample, x[0]) for sample in samples]

    def draw(sample, like) -> InstanceData:
        generator = torch.Generator().manual_seed(int(sample.img_id))
        height, width = sample.img_shape[:2]
        size = torch.tensor([width, height, width, height])
        corners = torch.rand(300, 2, 2, generator=generator).sort(1).values
        boxes = (corners.flatten(1) * size).to(like)
        return InstanceData(bboxes=boxes, scores=boxes.new_ones(300))

    rpn_head.loss_and_predict = loss_and_predict


def launch_runs(args: argparse.Namespace, words: list[str]) -> dict[int, list[dict]]:
    """World size -> what its processes wrote."""
    records_of = {}
    with tempfile.TemporaryDirectory() as folder:
        for world in (1, args.processes):
            command = [sys.executable]
            if world > 1:
                command += ['-m', 'torch.distributed.run', '--standalone']
                command += ['--local-addr', '127.0.0.1']
                command += ['--nproc-per-node', str(world)]
            command += ['-m', 'benchmarks.processes', *words, '--worker', folder]
            threads = args.threads or max(1, os.cpu_count() // world)
            command += ['--threads', str(threads)]
            environment = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
            subprocess.run(command, check=True, env=environment)
            records_of[world] = records_in(folder, world)
    return records_of


def records_in(folder: str, world: int) -> list[dict]:
    """What the workers of a run wrote into their folder."""
    paths = [Path(folder, f'{world}_{rank}.json') for rank in range(world)]
    return [json.loads(path.read_text()) for path in paths]


def compare(records_of: dict[int, list[dict]]) -> dict:
    """Losses of both, their largest relative difference, seconds and peaks."""
    result = {}
    for world, ranks in records_of.items():
        steps = zip(*(rank['records'] for rank in ranks), strict=True)
        merged = [{k: mean(r[k] for r in step) for k in step[0]} for step in steps]
        result[world] = dict(
            losses=[step['loss'] for step in merged],
            steps=merged,
            seconds=median(step['seconds'] for step in merged[1:] or merged),
            peak_gb=[rank['peak_gb'] for rank in ranks],
        )
    one, many = (r['steps'] for r in result.values())
    result['largest relative difference'] = max(
        abs(b[k] - a[k]) / max(abs(a[k]), 1e-6)
        for a, b in zip(one, many, strict=True)
        for k in a
        if k != 'seconds'
    )
    return result


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config')
    add('--iterations', type=int, default=50)
    add('--processes', type=int, default=2)
    add('--batch', type=int, default=2, help='global batch')
    add('--fixed-proposals', action='store_true', help='not those of the RPN')
    add('--threads', type=int, default=0, help='of a process; 0: share the cores')
    add('--cfg-options', nargs='+', action=KeyValue, default={}, metavar='KEY=VALUE')
    add('--out', type=Path, help='JSON file for the figures')
    add('--worker', help=argparse.SUPPRESS)
    return parser


def main() -> None:
    own = parser()
    args = own.parse_args()
    if args.batch % args.processes:
        own.error(f'--batch must be a multiple of {args.processes}')
    if args.worker:
        worker(args)
        return
    result = compare(launch_runs(args, sys.argv[1:]))
    for world in (1, args.processes):
        row = result[world]
        peaks = ', '.join(f'{gb:.2f}' for gb in row['peak_gb'])
        print(f'{world} process(es): loss {row["losses"][0]:.6f} -> '
              f'{row["losses"][-1]:.6f}, {row["seconds"]:.2f} s/iteration, '
              f'peak {peaks} GB')  # fmt: skip
    print(f'largest relative difference of a loss in {args.iterations} iterations: '
          f'{result["largest relative difference"]:.1e}')  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
