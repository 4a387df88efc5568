"""Unwrap the detector from distributed and test-time augmentation wrappers."""

from mmengine.model import BaseModel, BaseTTAModel, is_model_wrapper


def unwrap_model(model: BaseModel) -> BaseModel:
    """The detector inside wrappers of distributed training and of TTA."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
