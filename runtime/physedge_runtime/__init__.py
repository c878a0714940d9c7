"""The device's runtime: bundles, engines, frames, streams."""
