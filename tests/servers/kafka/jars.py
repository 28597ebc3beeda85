"""The jars of a Kafka broker."""

from __future__ import annotations

from pathlib import Path

from tests.servers import maven

VERSION = "4.3.1"
POM = Path(__file__).with_name("pom.xml")

CLASSES = "classes.jsa"
"""The file, beside the jars, of the classes that a broker loads, as Java keeps them ready."""


class BrokerUnavailableError(Exception):
    """This machine cannot run a real broker; the text is one line that says why and what would help."""


def fetch() -> Path:
    """The directory of the jars, filled by Maven on first use.

    Raises:
        BrokerUnavailableError: Java or Maven is missing, or Maven could not fetch them.
    """
    try:
        return maven.fetch(f"kafka-{VERSION}", POM)
    except maven.UnavailableError as error:
        raise BrokerUnavailableError(f"no real Kafka broker: {error}, and PENSTOCK_TEST_KAFKA is not set") from None
