"""Files: digests of what they hold."""
