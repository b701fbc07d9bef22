"""Folders that the real Clonezilla saved: how the fixture of tests/matrix/test_saved_by_clonezilla.py is made anew."""
