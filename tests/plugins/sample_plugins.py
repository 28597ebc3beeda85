"""The plugins under test: a working one, and one for each way to be broken."""

from __future__ import annotations

from tests.plugins.distributions import Distribution, offers_connector, offers_serializer, plugin

CLIENT = """
import sample_client  # a client library that listing must not import

class Consumer: ...
class Producer: ...
"""

SOUND = plugin(
    "penstock-sound",
    "sound",
    offers_connector("sound", "penstock_sound.connector", "a sound one"),
    version="1.2.3",
    modules={"connector.py": CLIENT, "../sample_client.py": ""},
)
RAISES = plugin("penstock-raises", "raises", "raise RuntimeError('no such planet')")
NEEDY = plugin("penstock-needy", "needy", "import needed_module")
LEAVES = plugin("penstock-leaves", "leaves", "import sys; sys.exit('this plugin has had enough')")
FUTURE = plugin(
    "penstock-future", "future", offers_connector("future", "nowhere").replace("PLUGIN_API = 1", "PLUGIN_API = 2")
)
PAST = plugin("penstock-past", "past", offers_connector("past", "nowhere").replace("PLUGIN_API = 1", "PLUGIN_API = 0"))
SILENT = plugin("penstock-silent", "silent", offers_connector("silent", "nowhere").replace("PLUGIN_API = 1", ""))
MISSPELT = plugin(
    "penstock-misspelt", "misspelt", offers_connector("misspelt", "nowhere").replace("connectors()", "conectors()")
)
UNMARKED = plugin("penstock-unmarked", "unmarked", offers_connector("unmarked", "nowhere").replace("@hookimpl", ""))
HOOK_RAISES = plugin(
    "penstock-hook-raises",
    "hook-raises",
    offers_connector("hook-raises", "nowhere").replace("return [", "raise KeyError('region')\n    return ["),
)
NO_LIST = plugin(
    "penstock-no-list",
    "no-list",
    offers_connector("no-list", "nowhere").replace("return [", "return (").replace(")]", "))"),
)
TWIN_A = plugin(
    "acme-twin", "twin-a", offers_connector("twin", "acme_twin.connector"), modules={"connector.py": CLIENT}
)
TWIN_B = plugin("other-twin", "twin-b", offers_connector("twin", "nowhere"), version="2.0")
CLIENTLESS = plugin(
    "penstock-clientless",
    "clientless",
    offers_connector("clientless", "penstock_clientless.connector"),
    modules={"connector.py": "import client_that_is_not_installed"},
)
ABSENT_CLASS = plugin(
    "penstock-absent-class",
    "absent-class",
    offers_connector("absent-class", "penstock_absent_class.connector"),
    modules={"connector.py": "class Consumers: ..."},
)

SAMPLE_PLUGINS = (
    SOUND, RAISES, NEEDY, LEAVES, FUTURE, PAST, SILENT, MISSPELT, UNMARKED, HOOK_RAISES, NO_LIST, TWIN_A, TWIN_B,
    CLIENTLESS, ABSENT_CLASS,
)  # fmt: skip

RIVAL_OF_THE_CORE: Distribution = plugin(
    "acme-rival", "rival", offers_serializer("json", "acme_rival.json:Json"), modules={"json.py": "class Json: ..."}
)
