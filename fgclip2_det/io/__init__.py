"""Files: text and JSON of any encoding, atomic writes."""
