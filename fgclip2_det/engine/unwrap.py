"""Unwrap the detector from distributed and test-time augmentation wrappers."""

from mmengine.model import BaseModel, BaseTTAModel, is_model_wrapper


def unwrap_model(model: BaseModel) -> BaseModel:
    """Without the wrapper of several processes and that of test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
