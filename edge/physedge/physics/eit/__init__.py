"""Electrical impedance tomography: forward model, classical reconstructions, simulation."""
