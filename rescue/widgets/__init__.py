"""Widgets that need no colour and no glyph that a text console lacks."""
