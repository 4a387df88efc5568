"""Text and JSON files of various encodings, digests, atomic writes."""
