"""Builds the live system, the stick that carries it, and the sample machine."""
