"""Fixtures that several tests of this folder share."""

from update_device import folder, release, root, trial, two

__all__ = ["folder", "release", "root", "trial", "two"]
