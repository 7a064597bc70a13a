"""An ``async def`` test of this folder runs on a real runtime: asyncio has no place in virtual time."""

from inspect import iscoroutinefunction

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        function = getattr(item, "function", None)
        ours = item.path.parent.name == "aio" and iscoroutinefunction(function)
        if ours and not any(item.iter_markers("rtsync")):
            item.add_marker(pytest.mark.rtsync(workers=2))
