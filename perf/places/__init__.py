"""Places beside other ways to have two processes (or interpreters) talk: ``make bench-places``."""
