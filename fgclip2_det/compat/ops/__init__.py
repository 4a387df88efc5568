"""The ops of ``mmcv._ext`` in PyTorch, one file per topic.

Every function has the calling convention of mmcv's C++ extension (see
``mmcv/ops/*.py``): if the compiled op writes into given tensors, so does the function
here. All devices; half types are computed in float32, float64 in float64.
"""
