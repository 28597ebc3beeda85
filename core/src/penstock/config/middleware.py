"""Middleware by name, with its options, into the objects that an engine uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from penstock.config.faults import Fault, explain, placed
from penstock.config.masking import scrub, secrets_in
from penstock.config.places import Path, Places
from penstock.dead_letters import error_text
from penstock.errors import PluginError
from penstock.known_secrets import remember
from penstock.middleware import Middleware, Wrapper

if TYPE_CHECKING:
    from penstock.config.model import Configuration
    from penstock.middleware import AnyMiddleware
    from penstock.plugins.registry import Registry


def configured_middleware(
    configuration: Configuration, registry: Registry
) -> tuple[list[Middleware | Wrapper], list[str]]:
    """What `engine.middleware` names, and the problems with it, as whole sentences with their places."""
    items = configuration.engine.middleware
    return make_middleware(items, registry, "engine", ("engine",), configuration.places)


def make_middleware(
    items: Iterable[AnyMiddleware],
    registry: Registry,
    subject: str,
    root: Path = (),
    places: Places | None = None,
) -> tuple[list[Middleware | Wrapper], list[str]]:
    """Make what is given by name; what is an object already stays as it is.

    Args:
        items: As `Engine(middleware=…)` takes them.
        registry: What is installed.
        subject: Begins each problem.
        root: The section that the items stand in, under the key `middleware`.
        places: Finds the file and line of a path.

    Returns:
        The middleware, in order, and the problems.
    """
    made: list[Middleware | Wrapper] = []
    faults: list[Fault] = []
    for index, item in enumerate(items):
        if not isinstance(item, str | Mapping):
            made.append(item)
            continue
        options = {"name": item} if isinstance(item, str) else dict(item)
        try:
            made.append(_make(options, registry, ("middleware", index)))
        except _Refused as refused:
            faults += [Fault((*root, *fault.path), fault.text) for fault in refused.faults]
    return made, placed(faults, subject, places or Places())


class _Refused(Exception):
    def __init__(self, *faults: Fault) -> None:
        self.faults = faults


def _make(options: dict[str, Any], registry: Registry, path: Path) -> Any:
    name = options.pop("name", None)
    if not isinstance(name, str) or not name:
        raise _Refused(Fault(path, "middleware is a name, or a mapping with a 'name' and the options"))
    try:
        spec = registry.middleware(name)
        target = registry.load(spec, spec.target)
    except PluginError as error:
        raise _Refused(Fault(path, str(error))) from error
    owner = f"middleware {name!r}"
    if not (isinstance(target, type) and issubclass(target, Middleware)):
        if options:
            raise _Refused(Fault(path, f"{owner} takes no options; write its name alone"))
        return target
    remember(secrets_in(options, target))
    try:
        return target(**options)
    except ValidationError as error:
        raise _Refused(*explain(error, target, options, owner, path)) from error
    except KeyboardInterrupt:
        raise
    # A plugin's validator may raise anything.
    except BaseException as error:
        text = scrub(f"{type(error).__name__}: {error_text(error)}", options, target)
        raise _Refused(Fault(path, f"{owner} cannot be made of its options: {text}")) from error
