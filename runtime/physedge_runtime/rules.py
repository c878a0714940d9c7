"""Rules between the members of a JSON document, written as data, so that the C++ reader asks the very same ones.

An expression is a constant, a path or a tuple (operator, operands). A path is a text that begins with `$` (the
document) or `@` (the item that `each` and `some` look at) and names members with dots; `*` stands for every value of a
list or an object. What is not there is null. `runtime/native/src/rules.cpp` is the twin of this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that must hold.

    Attributes:
        sentence: What is wrong where it does not.
        expression: True where it does.
    """

    sentence: str
    expression: tuple[Any, ...]


def broken_rule(rules: Iterable[Rule], document: Any) -> str:
    """The sentence of the first rule that does not hold; empty where all hold."""
    for rule in rules:
        if not _value(rule.expression, document, None):
            return rule.sentence
    return ""


def _value(expression: Any, document: Any, item: Any) -> Any:
    if isinstance(expression, tuple):
        return _OPERATORS[expression[0]](expression[1:], document, item)
    if isinstance(expression, str) and expression[:1] in ("$", "@"):
        place, *steps = expression.split(".")
        return _at(document if place == "$" else item, steps)
    return expression


def _at(found: Any, steps: list[str]) -> Any:
    for index, step in enumerate(steps):
        if step == "*":
            return [_at(one, steps[index + 1 :]) for one in _items(found)]
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value[name] for name in sorted(value)]
    return list(value) if isinstance(value, list | tuple) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_is_equal(*pair) for pair in zip(one, other, strict=True))
    if _is_number(one) and _is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def _is_in(value: Any, items: Any) -> bool:
    return any(_is_equal(value, one) for one in _items(items))


def _values(operands: tuple[Any, ...], document: Any, item: Any) -> list[Any]:
    return [_value(operand, document, item) for operand in operands]


def _plain(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], Any, Any], Any]:
    """An operator that looks at the values of its operands only."""
    return lambda operands, document, item: function(*_values(operands, document, item))


def _numbers(function: Callable[..., Any], without: Any) -> Callable[[tuple[Any, ...], Any, Any], Any]:
    """The same; `without` where one of them is not a number."""
    return _plain(lambda *values: function(*values) if all(map(_is_number, values)) else without)


def _texts(function: Callable[[str, str], bool]) -> Callable[[tuple[Any, ...], Any, Any], Any]:
    return _plain(lambda one, other: isinstance(one, str) and isinstance(other, str) and function(one, other))


def _each(operands: tuple[Any, ...], document: Any, item: Any) -> bool:
    return all(_value(operands[1], document, one) for one in _items(_value(operands[0], document, item)))


def _some(operands: tuple[Any, ...], document: Any, item: Any) -> bool:
    return any(_value(operands[1], document, one) for one in _items(_value(operands[0], document, item)))


def _choose(operands: tuple[Any, ...], document: Any, item: Any) -> Any:
    condition, where_true, where_false = operands
    return _value(where_true if _value(condition, document, item) else where_false, document, item)


_OPERATORS: dict[str, Callable[[tuple[Any, ...], Any, Any], Any]] = {
    "all": lambda operands, document, item: all(_value(one, document, item) for one in operands),
    "any": lambda operands, document, item: any(_value(one, document, item) for one in operands),
    "not": lambda operands, document, item: not _value(operands[0], document, item),
    "choose": _choose,
    "each": _each,
    "some": _some,
    "equal": _plain(_is_equal),
    "in": _plain(_is_in),
    "within": _plain(lambda part, whole: all(_is_in(one, whole) for one in _items(part))),
    "unique": _plain(lambda items: len({repr(one) for one in _items(items)}) == len(_items(items))),
    "at most": _numbers(lambda one, other: one <= other, False),
    "below": _numbers(lambda one, other: one < other, False),
    "plus": _numbers(lambda one, other: one + other, None),
    "times": _numbers(lambda one, other: one * other, None),
    "product": _plain(lambda items: math.prod(one for one in _items(items) if _is_number(one))),
    "count": _plain(lambda items: len(_items(items))),
    "first": _plain(lambda items: _items(items)[0] if _items(items) else None),
    "last": _plain(lambda items: _items(items)[-1] if _items(items) else None),
    "keys": _plain(lambda items: sorted(items) if isinstance(items, dict) else []),
    "list": _plain(lambda *values: list(values)),
    "starts": _texts(str.startswith),
    "ends": _texts(str.endswith),
}
OPERATORS = frozenset(_OPERATORS)
"""Names of all of them; a test holds that the C++ reader knows each."""
