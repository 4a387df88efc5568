"""Re-scoring of another detector's predictions: result lists, score dumps, tuning."""
