"""Published results of detectors, alone and re-scored, by one command each."""
