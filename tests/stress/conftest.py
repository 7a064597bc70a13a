"""The long tests run with `make stress` only."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-stress", action="store_true", help="run the long tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--run-stress", default=False):
        skip = pytest.mark.skip(reason="long; make stress runs it")
        for item in items:
            if "stress" in item.path.parts:
                item.add_marker(skip)
