"""The ops of ``mmcv._ext`` in PyTorch, one file per topic.

Every function has the calling convention of mmcv's C++ extension (see
``mmcv/ops/*.py``): where the compiled op writes into given tensors, so does
this one. All devices; float32 arithmetic for half types, float64 for float64.
"""
