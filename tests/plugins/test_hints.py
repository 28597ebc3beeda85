"""The core's table of names is what the plugins of this repository offer."""

from __future__ import annotations

from importlib import import_module

import pytest

from penstock.plugins import hints
from penstock.plugins.registry import Registry

EXTRAS = ("kafka", "rsmq", "redis", "zmq", "memory", "sqlite", "msgpack", "postgres", "azure")
EXTRAS = ("kafka", "rsmq", "redis", "http", "timer", "memory", "sqlite", "msgpack", "postgres")


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_name_of_ours_has_its_hint(extra: str) -> None:
    """The error for a missing name leads to the extra that brings it."""
    pytest.importorskip(f"penstock_{extra}")
    mine = [offer for offer in Registry().listing() if offer.distribution == f"penstock-{extra}"]

    assert mine
    assert {(offer.kind, offer.name, hints.extra_for(offer.kind, offer.name)) for offer in mine} == {
        (offer.kind, offer.name, extra) for offer in mine
    }


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_hint_promises_what_does_not_exist(extra: str) -> None:
    """Each name in the table is offered, as it stands or, for a profile, with something after a dash."""
    pytest.importorskip(f"penstock_{extra}")
    import_module(f"penstock_{extra}")
    offers = {(offer.kind, offer.name) for offer in Registry().listing() if offer.distribution == f"penstock-{extra}"}
    offered = {(kind, stem) for kind, name in offers for stem in hints.stems(kind, name)}

    promised = {
        (kind, name)
        for kind in ("connector", "serializer", "model_handler", "profile")
        for name in hints.known_names(kind)
        if hints.extra_for(kind, name) == extra
    }

    assert promised
    assert promised <= offered


def test_a_strangers_distribution_is_not_ours() -> None:
    """Any author may publish a `penstock-acme`; only those of this repository are first-party."""
    origins = [
        hints.origin(name) for name in ("penstock-core", "penstock-kafka", "Penstock_Kafka", "penstock-acme", "kafka")
    ]

    assert origins == ["built-in", "first-party", "first-party", "third-party", "third-party"]
