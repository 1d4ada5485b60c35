"""Render templates/*.j2 into the CloudFormation template of one release."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless.errors import ConfigError, suggest

if TYPE_CHECKING:
    import yaml

SIZE_LIMIT = 51_200
"""Bytes CloudFormation accepts for a template sent along with the request."""


@dataclass(frozen=True)
class Rendered:
    """A rendered template, and the SHA-256 (64 hex digits) of its text."""

    text: str
    digest: str


def render(folder: Path, name: str, variables: Mapping[str, Any]) -> Rendered:
    """Render `folder/name` and check that CloudFormation can read the result.

    Equal variables give equal text. Raises ConfigError, naming template, line and variable,
    for an undefined variable, a mistake in the template, or a result that is no YAML mapping,
    repeats a key, holds a null or is larger than `SIZE_LIMIT`.
    """
    text = _expand(folder, name, variables)
    size = len(text.encode())
    if size > SIZE_LIMIT:
        raise ConfigError(
            f"{folder / name} renders to {size:,} bytes; CloudFormation takes {SIZE_LIMIT:,} at "
            "most: move resources that no release changes into a stack of their own"
        )
    document = parse(text, str(folder / name))
    nulls = ", ".join(_nulls(document))
    if nulls:
        raise ConfigError(
            f"{folder / name}: no value for {nulls}: CloudFormation refuses null; give it a "
            "value or leave the key out"
        )
    return Rendered(text, hashlib.sha256(text.encode()).hexdigest())


def parse(text: str, source: str) -> dict[str, Any]:
    """The template as plain values, `!Ref x` and the other short tags as `{"Ref": "x"}`.

    Raises ConfigError naming `source` and the line of the rendered text.
    """
    import yaml

    try:
        document = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        where = f", rendered line {mark.line + 1}: {_line(text, mark.line)!r}" if mark else ""
        raise ConfigError(f"{source} does not render to valid YAML: {problem}{where}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{source} renders to no mapping: it has no `Resources:`")
    return document


def _expand(folder: Path, name: str, variables: Mapping[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    try:
        return environment.get_template(name).render(**variables)
    except jinja2.TemplateNotFound as error:
        have = sorted(path.name for path in folder.glob("*.j2"))
        raise ConfigError(
            f"{_where(error, folder, name)}no template {error.name!r} in {folder}"
            f"{suggest(str(error.name), have)} (have: {', '.join(have) or 'none'})"
        ) from error
    except jinja2.TemplateSyntaxError as syntax:
        file = folder / (syntax.name or name)
        raise ConfigError(f"{file}:{syntax.lineno}: {syntax.message}") from syntax
    except jinja2.UndefinedError as error:
        unknown = re.match(r"'(\w+)' is undefined", str(error))
        hint = suggest(unknown[1], variables) if unknown else ""
        known = f" (have: {', '.join(sorted(variables))})" if unknown else ""
        raise ConfigError(f"{_where(error, folder, name)}{error}{hint}{known}") from error
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise ConfigError(
            f"{_where(error, folder, name)}{type(error).__name__}: {error}"
        ) from error


def _where(error: BaseException, folder: Path, name: str) -> str:
    """`file:line: ` of the innermost template that was being rendered."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.suffix == ".j2" and file.is_relative_to(folder):
            found = f"{file}:{trace.tb_lineno}: "
        trace = trace.tb_next
    return found or (f"{folder / name}: " if (folder / name).is_file() else "")


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number].strip() if number < len(lines) else ""


def _nulls(value: Any, path: str = "") -> Iterator[str]:
    """Where the nulls are, as `Resources.Vpc.Properties.Tags[0]`."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _nulls(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _nulls(child, f"{path}[{index}]")


def _loader() -> type[yaml.SafeLoader]:
    """A YAML loader that knows CloudFormation's short tags and refuses repeated keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        """SafeLoader keeps its constructors per class: this one is ours alone."""

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return loader.construct_mapping(node, deep=True)

    def short_tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
        value: Any
        if isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        elif isinstance(node, yaml.MappingNode):
            value = mapping(loader, node)
        else:
            value = loader.construct_object(_untagged(node))
        if suffix == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}

    def _untagged(node: yaml.Node) -> yaml.Node:
        return yaml.ScalarNode("tag:yaml.org,2002:str", node.value, node.start_mark)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    Loader.add_multi_constructor("!", short_tag)
    return Loader
