"""Boots the stick, and what it restored, in QEMU."""
