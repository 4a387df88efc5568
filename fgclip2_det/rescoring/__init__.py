"""Another detector's predictions re-scored, dumped and tuned."""
