"""OVShapes: coloured shapes with names and captions, made on first use."""
