"""Real servers for tests: S3 (OpenStack Swift) and a web server (nginx), on this machine's loopback alone."""
