"""What this distribution offers. It is imported to list plugins, so it imports nothing slow."""

from __future__ import annotations

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> list[ConnectorSpec]:
    """The connector `folder`."""
    return [
        ConnectorSpec(
            "folder",
            consumer="penstock_folder.consumer:FolderConsumer",
            producer="penstock_folder.producer:FolderProducer",
            options="penstock_folder.options:FolderOptions",
            check="penstock_folder.options:check",
            # No more than is true. What is missing is refused where it is asked for, or done by the core.
            capabilities=Capabilities(ordering="queue", redelivery_count=True, lag=True),
            summary="a directory of files",
        )
    ]


@hookimpl
def penstock_profiles() -> list[Profile]:
    """`folder` for JSON and models, `folder-dlq` for dead letters as they came."""
    return [
        Profile("folder", "folder", summary="JSON and pydantic, a file a message"),
        Profile("folder-dlq", "folder", serializer=None, model_handler=None, data_model=None, summary="bytes"),
    ]
