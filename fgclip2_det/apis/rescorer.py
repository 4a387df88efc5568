from fgclip2_det.models.prediction_rescorer import (  # noqa: F401
    PredictionRescorer,
    Rescored,
)
