# The embedded default with three epochs at a third of its rate: what the embedded
# detector was trained with, and the variants beside this file were measured with.
_base_ = [
    '../_base_/models/fgclip2-det_tiny_sfpn.py',
    '../_base_/datasets/ovshapes.py',
    '../_base_/schedules/schedule_cpu.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(max_keep_ckpts=2))
log_processor = dict(window_size=25)
