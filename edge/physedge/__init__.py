"""physedge: from a trained physics-embedded network to a point-of-care device."""
