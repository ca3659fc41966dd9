"""Ways of choosing configurations: each proposes trials from what has been measured so far."""
