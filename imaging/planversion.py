"""The version of the format in which plans are written down."""

VERSION = 2
"""2: a restore can be of chosen partitions, which a program that reads 1 would take for one of whole disks."""
