"""The build of libphysedge, for every test in this folder."""

from native_build import native, native_build

__all__ = ["native", "native_build"]
