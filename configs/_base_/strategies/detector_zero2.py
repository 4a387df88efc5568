# DeepSpeed's ZeRO-2 for a detector: gradients and AdamW's state in shards, in float32
# (bfloat16 there means the whole model, boxes as well). DeepSpeed clips and steps: a
# config that takes this needs optim_wrapper.type='DeepSpeedOptimWrapper' without
# clip_grad. Needs 'deepspeed<0.18', as deepspeed_zero2.py says.
_base_ = './deepspeed_zero2.py'
strategy = dict(bf16=dict(enabled=False), gradient_clipping=10.0)
