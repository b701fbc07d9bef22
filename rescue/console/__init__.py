"""How the application's screen reaches a terminal over a slow line, or one that knows little."""
