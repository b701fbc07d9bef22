"""A coverage-guided search for input that makes a parser fail in a way that it does not document."""
