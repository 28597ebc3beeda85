"""From a name to the one offer that is meant, or to a sentence that helps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.plugins.distributions import (
    Distribution,
    install_only,
    offers_connector,
    offers_profile,
    offers_serializer,
    plugin,
)

from penstock.errors import DuplicateNameError, PluginError, UnknownNameError
from penstock.plugins.registry import Registry
from penstock.specs import ConnectorSpec

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Make the process see the core and the given distributions only."""
    monkeypatch.delenv("PENSTOCK_PLUGINS_ALLOW", raising=False)
    monkeypatch.delenv("PENSTOCK_PLUGINS_BLOCK", raising=False)
    return lambda *distributions: install_only(monkeypatch, tmp_path, *distributions)


def _acme(entry_point: str = "acme", offers: str = "acme", distribution: str = "acme-queues") -> Distribution:
    return plugin(distribution, entry_point, offers_connector(offers, "acme_client.connector"))


def _connector_error(name: str, **policy: object) -> str:
    with pytest.raises(PluginError) as raised:
        Registry(**policy).connector(name)  # type: ignore[arg-type]
    return f"{raised.type.__name__}: {raised.value}"


@pytest.mark.parametrize(
    ("kind", "name", "advice"),
    [
        ("connector", "kafka", "pip install 'penstock-core[kafka]'"),
        ("connector", "rsmq", "pip install 'penstock-core[rsmq]'"),
        ("connector", "memory", "pip install 'penstock-core[memory]'"),
        ("serializer", "msgpack", "pip install 'penstock-core[msgpack]'"),
        ("profile", "kafka-json", "pip install 'penstock-core[kafka]'"),
        ("profile", "confluent", "pip install 'penstock-core[kafka]'"),
        ("profile", "rsmq-pydantic", "pip install 'penstock-core[rsmq]'"),
        ("connector", "kafak", "did you mean 'kafka', which comes with pip install 'penstock-core[kafka]'?"),
        ("serializer", "jsn", "did you mean 'json'?"),
        ("serializer", "JSON", "did you mean 'json'?"),
        ("serializer", "pydantic", "'pydantic' is a model handler; installed are json, text"),
        ("connector", "msgpack", "'msgpack' is a serializer"),
        ("serializer", "xyzzy", "installed are json, text"),
    ],
)
def test_an_unknown_name_is_answered_with_what_to_do(kind: str, name: str, advice: str, install: Install) -> None:
    """What to install for a name of ours, the name that was probably meant, or what there is."""
    install()

    with pytest.raises(UnknownNameError) as raised:
        getattr(Registry(), kind)(name)

    said = f"{kind} {name!r}: nothing that is installed offers one of this name; {advice}"
    assert str(raised.value) == said


def test_a_name_of_an_installed_extra_is_not_answered_with_its_installation(install: Install) -> None:
    """Who has penstock-kafka and asks for a profile it does not have is told what it has."""
    install(plugin("penstock-kafka", "kafka", offers_profile("kafka-json", "kafka")))

    with pytest.raises(UnknownNameError, match="did you mean 'kafka-json'") as raised:
        Registry().profile("kafka-jsno")

    assert "pip install" not in str(raised.value)


def test_a_broken_plugin_answers_for_every_name_it_would_bring(install: Install) -> None:
    """The profile `confluent` is of penstock-kafka, which is installed: the error says what is wrong with that."""
    install(plugin("penstock-kafka", "kafka", "import confluent"))

    with pytest.raises(PluginError) as raised:
        Registry().profile("confluent")

    assert type(raised.value) is PluginError
    assert str(raised.value) == (
        "profile 'confluent': plugin 'kafka' of penstock-kafka 1.0.0 does not load: importing 'penstock_kafka.plugin' "
        "raised ModuleNotFoundError: No module named 'confluent'; pip install 'penstock-core[kafka]'"
    )
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


def test_a_broken_plugin_keeps_its_name(install: Install) -> None:
    """Another plugin's offer of the same name does not slip into the place of a plugin that fails."""
    install(plugin("acme-queues", "acme", "raise OSError('disk')"), _acme("other", "acme", "other-queues"))

    assert "plugin 'acme' of acme-queues 1.0.0 does not load" in _connector_error("acme")
    assert Registry().connector("other-queues:acme").name == "acme"


def test_a_blocked_plugin_gives_its_name_away(install: Install) -> None:
    """To keep one out is how to choose the other one."""
    install(_acme(), _acme("other", "acme", "other-queues"))
    registry = Registry(block=["acme-queues"])

    assert registry.connector("acme").name == "acme"
    assert [
        offer.distribution for offer in registry.listing() if (offer.kind, offer.name) == ("connector", "acme")
    ] == ["other-queues"]


@pytest.mark.parametrize("offered", ["acme", "acme.fast", "acme-fast"])
def test_a_plugin_is_found_by_name_whatever_its_entry_point_is(offered: str, install: Install) -> None:
    """If no entry point bears the name, every plugin is asked."""
    install(_acme("unrelated", offered))

    assert Registry().connector(offered).name == offered


@pytest.mark.parametrize(
    ("kind", "name"), [("connector", "acme.fast"), ("profile", "acme.fast"), ("profile", "acme-fast")]
)
def test_the_part_before_a_dot_or_dash_finds_the_plugin(kind: str, name: str, install: Install) -> None:
    """`acme.fast` is looked for in the plugin `acme` first; no other plugin's code runs."""
    offer = offers_connector if kind == "connector" else offers_profile
    install(plugin("acme-queues", "acme", offer(name, "x")), plugin("acme-trap", "trap", "raise OSError"))

    assert getattr(Registry(), kind)(name).name == name
    assert "acme_trap" not in sys.modules


def test_the_entry_point_decides_whatever_was_loaded_before(install: Install) -> None:
    """`acme` is the plugin's whose entry point says so, also after another one that offers it too was loaded."""
    install(_acme(), _acme("other", "acme", "other-queues"))
    fresh, warm = Registry(), Registry()
    warm.listing()

    owners = [registry._candidates.of("connector", "acme")[0].plugin.entry.distribution for registry in (fresh, warm)]
    offers = {offer.distribution: offer for offer in warm.listing() if offer.kind == "connector"}

    assert owners == ["acme-queues", "acme-queues"]
    assert (offers["acme-queues"].state, offers["other-queues"].state) == ("ok", "duplicate")
    assert offers["other-queues"].problem == (
        "plugin 'other' of other-queues 1.0.0 offers the connector 'acme' too, but that name is taken by "
        "plugin 'acme' of acme-queues 1.0.0, as its entry point says; write 'other-queues:acme' for this one"
    )


def test_two_entry_points_of_one_name_are_an_error_when_it_is_used(install: Install) -> None:
    """Two distributions, one entry-point name, one connector: both are named, and so is the way out."""
    install(_acme(), _acme(distribution="other-queues"))

    with pytest.raises(DuplicateNameError) as raised:
        Registry().connector("acme")

    assert str(raised.value) == (
        "connector 'acme' is offered by plugin 'acme' of acme-queues 1.0.0 and plugin 'acme' of other-queues 1.0.0; "
        "write 'acme-queues:acme' or 'other-queues:acme'"
    )


def test_one_distribution_that_claims_a_name_twice_is_settled_by_blocking(install: Install) -> None:
    """Where the distribution's name cannot tell them apart, the error says which entry points to keep out."""
    source = offers_connector("acme", "x")
    install(
        Distribution(
            "acme-queues",
            {"acme_queues/__init__.py": "", "acme_queues/a.py": source, "acme_queues/b.py": source},
            {"one": "acme_queues.a", "two": "acme_queues.b"},
        )
    )

    assert _connector_error("acme-queues:acme").endswith("keep one of them out with PENSTOCK_PLUGINS_BLOCK=one or two")
    assert Registry(block=["two"]).connector("acme").name == "acme"


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"block": ["acme"]}, "is blocked by plugins.block; take it off that list to use it"),
        ({"block": ["Acme.Queues"]}, "is blocked by plugins.block; take it off that list to use it"),
        ({"allow": []}, "is not allowed by plugins.allow; add 'acme-queues' to that list to use it"),
        ({"allow": ["acme"], "block": ["acme"]}, "is blocked by plugins.block; take it off that list to use it"),
    ],
)
def test_a_plugin_kept_out_by_the_configuration_says_so(
    policy: dict[str, list[str]], reason: str, install: Install
) -> None:
    """By its entry point or by its distribution, however that is spelt; block is stronger than allow."""
    install(_acme())

    assert _connector_error("acme", **policy) == (
        f"PluginError: connector 'acme': plugin 'acme' of acme-queues 1.0.0 {reason}"
    )


def test_a_block_list_that_blocks_nothing_is_a_warning(
    install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A typing error lets in what was to stay out; said once, not by every registry."""
    install(_acme())
    monkeypatch.setenv("PENSTOCK_PLUGINS_BLOCK", "acme-quues")

    for _again in range(2):
        assert Registry(block=["acme-nothing", "beta"]).connector("acme").name == "acme"

    assert caplog.messages == [
        "plugins.block names 'acme-nothing', which no installed plugin is called, so it blocks nothing",
        "plugins.block names 'beta', which no installed plugin is called, so it blocks nothing",
        "PENSTOCK_PLUGINS_BLOCK names 'acme-quues', which no installed plugin is called, so it blocks nothing; "
        "did you mean 'acme-queues'?",
    ]


@pytest.mark.parametrize("allow", [["acme"], ["acme-queues"], None])
def test_an_allowed_plugin_works(allow: list[str] | None, install: Install) -> None:
    """An allow list names distributions or entry points; none at all allows everything."""
    install(_acme())

    assert Registry(allow=allow).connector("acme").name == "acme"


def test_the_environment_only_narrows_what_the_configuration_allows(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable cannot let in what the configuration keeps out, nor the other way round."""
    install(_acme(), _acme("beta", "beta", "beta-queues"))
    monkeypatch.setenv("PENSTOCK_PLUGINS_ALLOW", "acme, beta")

    assert "plugins.allow" in _connector_error("beta", allow=["acme"])

    monkeypatch.setenv("PENSTOCK_PLUGINS_ALLOW", "beta")

    assert "PENSTOCK_PLUGINS_ALLOW" in _connector_error("acme", allow=["acme"])


def test_an_allow_list_never_keeps_the_cores_own_out(install: Install) -> None:
    """`allow: []` is the core alone."""
    install()
    registry = Registry(allow=[])

    assert (registry.serializer("json").name, registry.model_handler("pydantic").name) == ("json", "pydantic")


def test_a_name_kept_out_is_mentioned_where_nothing_else_helps(install: Install) -> None:
    """A name that is not offered may belong to a plugin that was not asked."""
    install(_acme("queues", "acme", "acme-queues"))

    assert _connector_error("acme", block=["queues"]) == (
        "UnknownNameError: connector 'acme': nothing that is installed offers one of this name; "
        "`penstock plugins` tells more of plugin 'queues' of acme-queues 1.0.0 (blocked)"
    )


def test_names_are_those_that_a_config_can_use(install: Install) -> None:
    """Sorted, without the ambiguous ones and those of broken plugins."""
    install(
        _acme(),
        _acme("x", "twin", "x-queues"),
        _acme("y", "twin", "y-queues"),
        plugin("z-queues", "z", "raise OSError"),
        plugin("acme-alphabet", "alphabet", offers_serializer("abc", "acme_alphabet.codec:Abc")),
    )

    assert (Registry().names("connector"), Registry().names("serializer")) == (["acme"], ["abc", "json", "text"])


def test_a_client_that_fails_is_told_with_its_distribution(install: Install) -> None:
    """`load` names the distribution of a spec, wherever the spec was got from, and chains the cause."""
    install(_acme())
    registry = Registry()
    spec = registry.connector("acme")

    with pytest.raises(PluginError) as raised:
        registry.load(spec, str(spec.consumer))

    assert str(raised.value) == (
        "connector 'acme' of acme-queues 1.0.0: 'acme_client.connector:Consumer' cannot be imported: "
        "there is no module 'acme_client'; pip install --force-reinstall acme-queues"
    )
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


def test_a_spec_from_elsewhere_is_loaded_too(install: Install) -> None:
    """A spec that no plugin offered has no distribution to name, and no remedy."""
    install()
    spec = ConnectorSpec("mine", consumer="json:Nothing", producer="json:JSONDecoder")

    assert Registry().load(spec, "json:JSONDecoder").__name__ == "JSONDecoder"
    with pytest.raises(PluginError) as raised:
        Registry().load(spec, "json:JSONDecoders")

    assert str(raised.value) == (
        "connector 'mine': 'json:JSONDecoders' cannot be imported: module 'json' has no attribute 'JSONDecoders' "
        "(did you mean 'JSONDecoder'?)"
    )


def test_import_paths_can_be_turned_off(install: Install) -> None:
    """A hardened deployment imports nothing that a config names by path, and says where to turn it on."""
    install()

    with pytest.raises(PluginError) as raised:
        Registry(allow_import_paths=False).import_path("json:JSONDecoder", wanted_by="queue 'orders': data_model")

    assert str(raised.value) == (
        "queue 'orders': data_model: 'json:JSONDecoder' is an import path, and these are turned off "
        "(plugins.allow_import_paths: false); write the name of an installed plugin's offer, or turn them on"
    )


def test_a_wrong_import_path_says_where_it_is_written(install: Install) -> None:
    """The place in the config comes first."""
    install()

    with pytest.raises(PluginError) as raised:
        Registry().import_path("json.JSONDecodr", wanted_by="queue 'orders': data_model")

    assert str(raised.value) == (
        "queue 'orders': data_model: 'json.JSONDecodr' cannot be imported: module 'json' has no attribute 'JSONDecodr' "
        "(did you mean 'JSONDecoder'?)"
    )


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("json", False),
        ("nonsense", False),
        ("acme.fast", False),  # a plugin has the entry point `acme`
        ("kafka.fast", False),  # not installed, but ours: the error shall say what to install
        ("acme-queues:json", False),
        ("Acme_Queues:json", False),
        ("absent-dist:json", False),  # no module is called so
        ("my_models.Order", True),
        ("acme.models.Order", True),  # a name is in lower case
        ("my_models.order", True),
        ("my_models:Order", True),
        ("my.models:Order", True),
    ],
)
def test_a_name_is_told_from_an_import_path(text: str, is_path: bool, install: Install) -> None:
    """Where a config may write either, it is decided without importing anything."""
    install(_acme())

    assert Registry().is_import_path(text) is is_path
