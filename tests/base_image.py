"""The base image's names, where tests look for them."""

from fearless.testing.base_image import NAME, VERSION

__all__ = ["NAME", "VERSION"]
