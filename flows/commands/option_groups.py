"""Options in groups: a command takes one value for options that belong together.

Typer makes an option of each parameter of a function. A command of twenty options is then a function of twenty
parameters, and every command that shares some of them repeats these. Here a parameter may be a dataclass: each of its
fields becomes an option, and the command receives the dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every parameter that is a dataclass replaced by one option per field.

    >>> @dataclasses.dataclass
    ... class Size:
    ...     width: int = 1
    ...     height: int = 2
    >>> @grouped
    ... def draw(name: str, *, size: Size) -> None:
    ...     print(name, size.width, size.height)
    >>> str(inspect.signature(draw))
    '(*, name: str, width: int = 1, height: int = 2)'
    >>> draw(name="square", width=2)
    square 2 2
    """
    parameters = inspect.signature(command, eval_str=True).parameters
    groups = {name: parameter.annotation for name, parameter in parameters.items() if _is_group(parameter)}
    fields = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}

    @functools.wraps(command)
    def ungrouped(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field: options.pop(field) for field in fields[name] if field in options})
        command(**options)

    options = [option for name, own in parameters.items() for option in fields.get(name, {name: own}).values()]
    return with_options(ungrouped, options)


def with_options(command: Callable[..., None], options: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """The command, declared to take these options in place of those that it was declared with."""
    declared = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    command.__signature__ = inspect.Signature(declared)  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in declared}
    return command


def _is_group(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation, type) and dataclasses.is_dataclass(parameter.annotation)
