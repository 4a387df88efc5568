"""OVShapes: coloured shapes with names and captions, generated on first use."""
