"""Real servers for tests, on this machine's loopback alone: buckets (S3, Azure, Google), websites and shares."""
