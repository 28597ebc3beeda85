"""`penstock schema`: prints the JSON schema of a configuration, for an editor's completion and checks."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace

from penstock.config.schema import configuration_schema
from penstock.observability.printable import lines
from penstock.plugins.registry import Registry


def configure(parser: ArgumentParser) -> None:
    """Add the help text; there are no arguments."""
    parser.epilog = (
        "It knows the connectors that are installed here. To use it: penstock schema > penstock.schema.json, and begin "
        "the YAML file with the line: # yaml-language-server: $schema=penstock.schema.json"
    )


def run(_arguments: Namespace) -> int:
    """Print the schema; report connectors that have none on stderr."""
    schema, problems = configuration_schema(Registry())
    print(json.dumps(schema, indent=2))
    for problem in problems:
        print(f"penstock: {lines(problem)}", file=sys.stderr)
    return 0
