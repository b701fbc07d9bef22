"""The tests of Rescue."""
