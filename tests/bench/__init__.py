"""Benchmarks: ratios of medians against the real tools, in one run on one machine. Run: python -m tests.bench"""
