# The embedded default: trains on OVShapes on a CPU in minutes, without downloads.
_base_ = [
    './_base_/models/fgclip2-det_tiny_sfpn.py',
    './_base_/datasets/ovshapes.py',
    './_base_/schedules/schedule_cpu.py',
    './_base_/default_runtime.py',
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(max_keep_ckpts=2))
log_processor = dict(window_size=25)
