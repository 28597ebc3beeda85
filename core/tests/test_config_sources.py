"""YAML and TOML, read safely and strictly."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.config.sources import MAX_VALUES, parse
from penstock.errors import ConfigError


def written(folder: Path, text: str | bytes, name: str = "c.yml") -> Path:
    """A file to parse."""
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def refused(file: Path) -> str:
    """Why a file does not parse, without its folder."""
    with pytest.raises(ConfigError) as error:
        parse(file)
    (problem,) = error.value.problems
    return problem.replace(f"{file.parent}/", "")


def found(file: Path) -> list[str]:
    """The problems of a file that parses, without its folder."""
    return [str(problem).replace(f"{file.parent}/", "") for problem in parse(file).problems]


def test_a_key_given_twice_is_a_problem(tmp_path: Path) -> None:
    """YAML would let the last one win in silence."""
    text = "a:\n  host: x\n  port: 1\n  host: y\nb: 1\na: 2\n"

    assert found(written(tmp_path, text)) == [
        "c.yml:6:1: the key 'a' was given in line 1 before; remove one of the two",
        "c.yml:4:3: the key 'host' in 'a' was given in line 2 before; remove one of the two",
    ]


def test_a_merged_key_may_be_overridden(tmp_path: Path) -> None:
    """What `<<` brings in gives way to the mapping's own keys, also where an anchor is used twice."""
    text = "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {<<: *x, c: 4}\nw: *x\n"
    file = written(tmp_path, text)

    assert parse(file).values == yaml.safe_load(text)
    assert found(file) == []


@pytest.mark.parametrize(
    ("key", "kind"),
    [("no", "true or false"), ("12", "a number"), ("1.5", "a number"), ("null", "null"), ("2024-01-01", "a date")],
)
def test_a_key_that_yaml_takes_for_something_else_wants_quotes(tmp_path: Path, key: str, kind: str) -> None:
    """A queue called `no` is text to its author and False to YAML."""
    assert found(written(tmp_path, f"queues:\n  {key}: 1\n")) == [
        f"c.yml:2:3: the key {key!r} in 'queues' is read as {kind}; put it in quotes"
    ]


def test_a_key_that_is_no_scalar_is_a_problem(tmp_path: Path) -> None:
    """YAML allows a list as a key; no configuration does."""
    assert found(written(tmp_path, "? [a]\n: 1\n")) == [
        "c.yml:1:3: a key is not text but a sequence; keys are plain text"
    ]


def test_a_value_that_only_looks_like_a_date_is_a_problem(tmp_path: Path) -> None:
    """The reader takes it for a date by its looks; the error says what to do."""
    assert found(written(tmp_path, "a: {day: 2024-13-45}\n")) == [
        "c.yml:1:10: 'a.day' is not a valid timestamp; put it in quotes if it is text"
    ]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [exit 1]", "!!python/name:os.system", "!mine x"])
def test_tags_that_make_objects_are_refused(tmp_path: Path, tag: str) -> None:
    """A configuration holds data: no tag runs code."""
    assert refused(written(tmp_path, f"a: {tag}\n")).startswith(
        "c.yml:1:4: is not well-formed YAML: could not determine a constructor for the tag"
    )


def test_a_syntax_error_shows_line_and_column_and_no_text(tmp_path: Path) -> None:
    """The place is enough; the line may hold a password."""
    problem = refused(written(tmp_path, 'a:\n  password: "hunter2\n  b: [1\n'))

    assert problem == (
        "c.yml:4:1: is not well-formed YAML: found unexpected end of stream "
        "(while scanning a quoted scalar, begun in line 2)"
    )


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    """Nine lines that expand to a billion values do not eat the memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert refused(written(tmp_path, "\n".join(lines))) == (
        f"c.yml: holds more than {MAX_VALUES:,} values once its aliases are expanded"
    )


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "[" * 5_000, "a: " + "{a: " * 500 + "}" * 500])
def test_endless_and_deep_nesting_are_refused(tmp_path: Path, text: str) -> None:
    """Neither a file that holds itself nor one without a bottom overflows the stack."""
    assert refused(written(tmp_path, text)) == "c.yml: is nested too deeply"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("c.toml", 'a = "hunter2', "c.toml: is not well-formed TOML: "),
        ("c.toml", "a = 1\na = 2\n", "c.toml: is not well-formed TOML: "),
        ("c.json", '{\n "a": "hunter2', "c.json:2:7: is not well-formed JSON: "),
        ("c.json", '{"a": {"b": 1, "b": 2}}', "c.json: the key 'b' is given twice; rename or remove one"),
        ("c.ini", "", "c.ini: a configuration is YAML, TOML or JSON; let the name end in .yml, .yaml, .toml or .json"),
        ("c.yml", b"a: \xff\n", "c.yml: byte 3 is not UTF-8; save the file as UTF-8"),
        ("c.yml", b"a: \x01\n", "c.yml: character 3 is one that YAML does not allow"),
        ("c.yml", "a: 1\n---\nb: 2\n", "c.yml:2:1: is not well-formed YAML: but found another document"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: str | bytes, problem: str) -> None:
    """Each kind of unreadable file has its sentence, and none shows the content."""
    said = refused(written(tmp_path, content, name))

    assert said.startswith(problem)
    assert "hunter2" not in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The commonest mistake has the plainest sentence."""
    assert refused(tmp_path / "c.yml") == "c.yml: there is no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """What the system says about a path is passed on."""
    (tmp_path / "c.yml").mkdir()

    assert refused(tmp_path / "c.yml") == "c.yml: cannot be read: Is a directory"


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Some editors begin a file with one."""
    assert parse(written(tmp_path, b"\xef\xbb\xbfa: 1\n")).values == {"a": 1}
    assert parse(written(tmp_path, b"\xef\xbb\xbfa = 1\n", "c.toml")).values == {"a": 1}


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-? \n\t{}[],&*!|>'\"#%@`<~0.")), st.sampled_from(["c.yml", "c.toml"]))
def test_no_text_crashes_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    """Whatever a file holds, it is data or a `ConfigError`, never anything else."""
    file = written(tmp_path_factory.getbasetemp(), text, name)

    with suppress(ConfigError):
        parsed = parse(file)
        if name == "c.yml" and not parsed.problems:
            assert parsed.values == yaml.safe_load(text)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates()


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_values_are_those_of_the_safe_loader(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    """Reading node by node for the places changes nothing about the values, and every key has its place."""
    text = yaml.safe_dump(values)
    parsed = parse(written(tmp_path_factory.mktemp("yaml"), text))

    assert parsed.values == yaml.safe_load(text) == values
    assert parsed.problems == []
    assert len(parsed.marks) == _count(values)


def _count(values: Any) -> int:
    items = values.values() if isinstance(values, dict) else values if isinstance(values, list) else ()
    return sum(1 + _count(item) for item in items)
