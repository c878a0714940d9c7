"""Data sets: labelled folders with their splits, and synthetic ones made by their own physics."""
