"""A module that a place cannot import."""

raise RuntimeError("this module cannot be imported")
