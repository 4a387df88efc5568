"""Build MMEngine's Runner, and destroy its process group."""

import gc

import torch
from mmdet.registry import RUNNERS
from mmengine.config import Config
from mmengine.runner import Runner

from fgclip2_det.compat.yapf_cache import import_yapf
from fgclip2_det.models.checkpoints import read_checkpoint


def build_runner(cfg: Config) -> Runner:
    """Build MMEngine's Runner, or the class that ``runner_type`` names.

    Several processes without a GPU use the gloo backend, which MMEngine does not select
    by default.
    """
    if cfg.get('launcher') == 'pytorch' and not torch.cuda.is_available():
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group('gloo')
        cfg.model_wrapper_cfg = {
            'type': 'MMDistributedDataParallel',
            'broadcast_buffers': False,
            'find_unused_parameters': cfg.get('find_unused_parameters', False),
            **(cfg.get('model_wrapper_cfg') or {}),
            'device_ids': None,
        }
    import_yapf()  # Runner prints the config
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    built = isinstance(runner.model, torch.nn.Module)  # FlexibleRunner's is a config
    if built and cfg.get('load_from') and not cfg.get('resume'):
        loaded = read_checkpoint(cfg.load_from)
        names = {name.removeprefix('module.') for name in runner.model.state_dict()}
        if not names & set(loaded.get('state_dict', loaded)):
            raise ValueError(
                f'load_from {cfg.load_from} has no weight of this model; use a '
                'checkpoint of this or a similar config'
            )
    return runner


def leave_process_group() -> None:
    """Stop the threads of ``torch.distributed`` once all processes have arrived.

    Sharded models keep their process group and its threads alive beyond
    ``destroy_process_group``. A thread that frees a tensor while the interpreter exits
    would abort the process after its work is done.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        gc.collect()  # such models have reference cycles
        distributed.destroy_process_group()
