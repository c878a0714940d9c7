"""The parts the networks are made of.

A class whose nodes must stay in floating point when the rest of the network runs in INT8 says so with the class
attribute `keep_float = True`: the diffusion recursions with their sources, diffusivities, uncertainties and variances,
the cosine attention over prototypes, the last convolution. Everything inside such a module belongs to the island.
Export finds the nodes by the class names that the exporter leaves in the graph's metadata.
"""
