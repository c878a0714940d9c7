"""Tumour growth on a slice of a head: the equation solved in float64, the anatomy, the picture."""
