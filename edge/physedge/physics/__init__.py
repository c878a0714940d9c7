"""Forward models: how tissue, light, sound and current make what an instrument sees."""
