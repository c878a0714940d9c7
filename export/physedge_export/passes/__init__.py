"""Rewritings of a graph that keep its function, and the list of them for every target."""
