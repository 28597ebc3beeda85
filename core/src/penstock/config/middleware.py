"""Makes the middleware that a configuration names, with its options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from penstock.config.locations import Locations, Path
from penstock.config.masking import scrub, secrets_in
from penstock.config.problems import Problem, located
from penstock.config.validation import explain
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
) -> tuple[list[Middleware | Wrapper], list[Problem]]:
    """What `engine.middleware` names, and the problems with it."""
    items = configuration.engine.middleware
    return make_middleware(items, registry, "engine", ("engine",), configuration.locations)


def make_middleware(
    items: Iterable[AnyMiddleware],
    registry: Registry,
    subject: str,
    root: Path = (),
    locations: Locations | None = None,
) -> tuple[list[Middleware | Wrapper], list[Problem]]:
    """Make what is given by name; what is an object already stays as it is.

    Args:
        items: As `Engine(middleware=…)` takes them.
        registry: What is installed.
        subject: Begins each problem.
        root: The section that the items stand in, under the key `middleware`.
        locations: Finds the file and line of a path.

    Returns:
        The middleware, in order, and the problems.
    """
    made: list[Middleware | Wrapper] = []
    problems: list[Problem] = []
    for index, item in enumerate(items):
        if not isinstance(item, str | Mapping):
            made.append(item)
            continue
        options = {"name": item} if isinstance(item, str) else dict(item)
        try:
            made.append(_make(options, registry, ("middleware", index)))
        except _Rejected as rejected:
            problems += [Problem((*root, *problem.path), problem.text) for problem in rejected.problems]
    return made, located(problems, subject, locations or Locations())


class _Rejected(Exception):
    def __init__(self, *problems: Problem) -> None:
        self.problems = problems


def _make(options: dict[str, Any], registry: Registry, path: Path) -> Any:
    name = options.pop("name", None)
    if not isinstance(name, str) or not name:
        raise _Rejected(Problem(path, "middleware is a name, or a mapping with a 'name' and the options"))
    try:
        spec = registry.middleware(name)
        target = registry.load(spec, spec.target)
    except PluginError as error:
        raise _Rejected(Problem(path, str(error))) from error
    owner = f"middleware {name!r}"
    if not (isinstance(target, type) and issubclass(target, Middleware)):
        if options:
            raise _Rejected(Problem(path, f"{owner} takes no options; write its name alone"))
        return target
    remember(secrets_in(options, target))
    try:
        return target(**options)
    except ValidationError as error:
        raise _Rejected(*explain(error, target, options, owner, path)) from error
    except KeyboardInterrupt:
        raise
    # A plugin's validator may raise anything.
    except BaseException as error:
        text = scrub(f"{type(error).__name__}: {error_text(error)}", options, target)
        raise _Rejected(Problem(path, f"{owner} cannot be made of its options: {text}")) from error
