"""The imaging library: disks, images, and how to move data between them. It knows no screen."""

__version__ = "0.1.0"
