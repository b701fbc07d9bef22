"""Unit tests: no root, no network, no process, no sleep."""
