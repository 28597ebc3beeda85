"""One misspelt option for each connector that is installed: `penstock check` names the line and the nearest key.

Run by check.py with the interpreter of a fresh environment; prints the connectors.
"""

import contextlib
import io
import tempfile
from pathlib import Path

from penstock.cli.main import main
from penstock.plugins.registry import Registry


def said(path: Path) -> str:
    """What `penstock check` prints about a file."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(["check", str(path)])
    assert code, f"{path.read_text()} is accepted:\n{out.getvalue()}"
    return out.getvalue()


registry, checked = Registry(), []
folder = tempfile.TemporaryDirectory()
for name in registry.names("connector"):
    spec = registry.connector(name)
    if spec.options is None:
        continue
    model = registry.load(spec, spec.options)
    key = max((field.alias or each for each, field in model.model_fields.items()), key=len)
    typo = f"{key[:-2]}{key[-1]}{key[-2]}"
    path = Path(folder.name) / f"{name}.yml"
    path.write_text(f"queues:\n  orders:\n    connector: {name}\n    config:\n      {typo}: 1\n")
    text = said(path)
    assert f"{path}:5" in text, f"{name}: the line is not named:\n{text}"
    assert f"did you mean '{key}'?" in text, f"{name}: {key!r} is not suggested:\n{text}"
    checked.append(name)
print(", ".join(checked))
folder.cleanup()
