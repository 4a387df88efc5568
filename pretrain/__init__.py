"""Home of the two-stage alignment training (FG-CLIP 2, arXiv:2510.10921, section 3).

Nothing but this name is here yet: data readers, losses, model and evaluation follow,
as MMEngine parts that configs in ``configs/pretrain`` name. It builds on the encoder
of ``fgclip2_det.fgclip2`` and knows nothing of detectors.
"""
