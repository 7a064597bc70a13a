"""Loads our own pytest plugin where the project is not installed with its entry points."""

from importlib.metadata import entry_points

pytest_plugins = ["pytester"]
if not entry_points(group="pytest11", name="rtsync"):
    pytest_plugins.append("rtsync.pytest_plugin")
