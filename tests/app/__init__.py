"""Tests of what a person meets: the texts and the screens."""
