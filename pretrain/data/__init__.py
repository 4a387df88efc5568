"""Training data: records, data sets, samplers, batches, shards."""

from pretrain.data.collate import AlignmentBatch, AlignmentCollate, text_key
from pretrain.data.crops import object_samples
from pretrain.data.dataset import AlignmentDataset
from pretrain.data.preprocessor import AlignmentDataPreprocessor
from pretrain.data.records import RecordStore, Sample, read_records, to_sample
from pretrain.data.sampler import BilingualBatchSampler, BilingualSampler
from pretrain.data.shard_hook import ShardProgressHook
from pretrain.data.shards import ShardDataset, write_shards

__all__ = [
    'AlignmentBatch',
    'AlignmentCollate',
    'AlignmentDataPreprocessor',
    'AlignmentDataset',
    'BilingualBatchSampler',
    'BilingualSampler',
    'RecordStore',
    'Sample',
    'ShardDataset',
    'ShardProgressHook',
    'object_samples',
    'read_records',
    'text_key',
    'to_sample',
    'write_shards',
]
