"""An import path leads to a thing, or the error says which part of it is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penstock.errors import PluginError
from penstock.plugins.import_paths import resolve


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's package `corner_shop` on the path."""
    files = {
        "__init__.py": "",
        "models.py": "class Order:\n    class Line: ...\n\ntotal = 3\n",
        "broken.py": "import json\n\njson.nothing_like_it\n",
        "needy.py": "import not_installed_here.api\n",
        "syntax.py": "def (:\n",
        "leaves.py": "import sys\nsys.exit('enough')\n",
        "lazy.py": "def __getattr__(name):\n    raise RuntimeError('no ' + name)\n",
        "inner/__init__.py": "",
        "inner/deep.py": "class Deep: ...\n",
    }
    for name, text in files.items():
        (tmp_path / "corner_shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corner_shop" / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in [name for name in sys.modules if name.split(".")[0] == "corner_shop"]:
        del sys.modules[module]
    return tmp_path / "corner_shop"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("corner_shop.models:Order", "Order"),
        ("corner_shop.models.Order", "Order"),
        ("corner_shop.models:Order.Line", "Order.Line"),
        ("corner_shop.models.Order.Line", "Order.Line"),
        ("corner_shop.inner.deep:Deep", "Deep"),
        ("corner_shop.inner.deep.Deep", "Deep"),
        ("penstock.data_models.GenericMessage", "GenericMessage"),
        ("penstock.GenericMessage", "GenericMessage"),  # made on first use by a module's __getattr__
        ("os.path.join", "join"),
    ],
)
def test_a_path_leads_to_the_thing_it_names(path: str, name: str, shop: Path) -> None:
    """With a colon or with dots alone, nested or in a package's depth."""
    assert resolve(path).__qualname__ == name


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("corner_shp.models:Order", "there is no module 'corner_shp'"),
        ("corner_shop.model:Order", "'corner_shop' has no module 'model' (did you mean 'models'?)"),
        ("corner_shop.model.Order", "module 'corner_shop' has no attribute 'model' (did you mean 'models'?)"),
        ("corner_shop.zzz.qqq:Order", "'corner_shop' has no module 'zzz'"),
        (
            "corner_shop.models:Odrer",
            "module 'corner_shop.models' has no attribute 'Odrer' (did you mean 'Order'?)",
        ),
        (
            "corner_shop.models:Order.Lines",
            "'Order' has no attribute 'Lines' (did you mean 'Line'?)",
        ),
        (
            "corner_shop.models.inner:Order",
            "'corner_shop.models' has no module 'inner'",
        ),
        ("corner_shop.models", "'corner_shop.models' is a module; write 'corner_shop.models:Name'"),
        ("corner_shop", "'corner_shop' is not an import path; write 'package.module:Name'"),
        ("corner_shop.models:", "'corner_shop.models:' is not an import path; write 'package.module:Name'"),
        (":Order", "':Order' is not an import path; write 'package.module:Name'"),
        ("corner_shop..models:Order", "'corner_shop..models:Order' is not an import path; write 'package.module:Name'"),
        ("../corner_shop:Order", "'../corner_shop:Order' is not an import path; write 'package.module:Name'"),
        (
            "corner_shop.models:Order()",
            "'corner_shop.models:Order()' is not an import path; write 'package.module:Name'",
        ),
        ("", "'' is not an import path; write 'package.module:Name'"),
        ("corner_shop.lazy:Thing", "reading 'Thing' of 'corner_shop.lazy' raised RuntimeError: no Thing"),
    ],
)
def test_the_wrong_part_of_a_path_is_named(path: str, error: str, shop: Path) -> None:
    """Module, submodule, attribute or the way it is written, with what was probably meant."""
    with pytest.raises(PluginError) as raised:
        resolve(path)

    assert str(raised.value) == error


@pytest.mark.parametrize(
    ("module", "cause", "line"),
    [
        ("broken", "AttributeError: module 'json' has no attribute 'nothing_like_it'", 3),
        ("needy", "ModuleNotFoundError: No module named 'not_installed_here'", 1),
        ("leaves", "SystemExit: enough", 2),
    ],
)
@pytest.mark.parametrize("path", ["corner_shop.{}:Thing", "corner_shop.{}.Thing"])
def test_a_module_that_fails_says_where(path: str, module: str, cause: str, line: int, shop: Path) -> None:
    """The user's own bug is shown with file and line, chained, and is not taken for a missing module."""
    with pytest.raises(PluginError) as raised:
        resolve(path.format(module))

    place = f"({shop / (module + '.py')}, line {line})"
    assert str(raised.value) == f"importing 'corner_shop.{module}' raised {cause} {place}"
    assert raised.value.__cause__ is not None


def test_a_syntax_error_tells_its_place_itself(shop: Path) -> None:
    """Python's text has file and line; ours does not repeat them."""
    with pytest.raises(PluginError, match=r"raised SyntaxError: invalid syntax \(syntax.py, line 1\)$"):
        resolve("corner_shop.syntax:Thing")
