"""Tools find what is installed by its name."""

from __future__ import annotations

import pytest

from penstock.errors import UnknownNameError
from penstock.installed import find_connector, options_model, owner_of, plugin_of
from penstock.options import ConnectorOptions


def test_a_connector_is_found_with_its_options_and_its_plugin() -> None:
    """As a configuration would find it."""
    spec = find_connector("memory")

    model = options_model(spec)
    assert model is not None
    assert issubclass(model, ConnectorOptions)
    assert plugin_of("memory") == "penstock_memory.plugin"


def test_an_unknown_connector_is_refused() -> None:
    """With the name."""
    with pytest.raises(UnknownNameError, match="mermory"):
        find_connector("mermory")


@pytest.mark.parametrize(
    ("name", "owner"), [("kafka", "pip install"), ("json", "penstock-core "), ("surely-free", None)]
)
def test_the_owner_of_a_name_is_known(name: str, owner: str | None) -> None:
    """Also of a name that one of our plugins would bring."""
    found = owner_of(name)

    assert (found is None) if owner is None else (found is not None and owner in found)
