"""The built-in networks; nothing of torch comes along until one of the modules is imported."""
