"""Training of R2D2's cross-encoder: pre-ranking, ranking, two distillations."""
