"""The mutants of a module: its source with one thing in it changed, each told by the line that changes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitXor: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_KEPT_ARGUMENTS = {"strict", "maxlen", "maxsize"}
"""Arguments that change nothing in a program without faults, as `zip(…, strict=True)`, or only what is remembered."""


@dataclass(frozen=True)
class Mutant:
    """One line of a module, as `ast.unparse` writes it, that `was` one thing and `becomes` another.

    `within` is the function or class around it, as "Journal.open", empty for none; `source` the whole module, changed.
    """

    within: str
    was: str
    becomes: str
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others, wherever in the file it is; equal lines of one function are not told apart."""
        return self.within, self.was, self.becomes


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a module, from its top to its end.

    Comparisons, operators, numbers, truth values, `min`, `max`, `any` and `all` become their neighbours, `not`, minus
    and calls whose result nobody takes are left out, conditions are turned round. Annotations and decorators stay.
    """
    tree = ast.parse(source)
    lines = ast.unparse(tree).splitlines()
    found = []
    for within, node in _nodes(tree, ""):
        for field, value in _changes(node):
            before = getattr(node, field)
            setattr(node, field, value)
            changed = ast.unparse(tree)
            setattr(node, field, before)
            found.append(Mutant(within, *_difference(lines, changed.splitlines()), changed))
    return found


def _nodes(node: ast.AST, within: str) -> Iterator[tuple[str, ast.AST]]:
    yield within, node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        within = f"{within}.{node.name}".lstrip(".")
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (isinstance(child, ast.keyword) and child.arg in _KEPT_ARGUMENTS):
                yield from _nodes(child, within)


def _changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Fields of a node, each with another value for it."""
    match node:
        case ast.Compare(ops=operators):
            for place, operator in enumerate(operators):
                yield "ops", [*operators[:place], _OPERATORS[type(operator)](), *operators[place + 1 :]]
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) | ast.BoolOp(op=operator):
            if type(operator) in _OPERATORS:
                yield "op", _OPERATORS[type(operator)]()
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "operand", ast.UnaryOp(ast.Not(), operand)
        case ast.UnaryOp(op=ast.USub()):
            yield "op", ast.UAdd()
        case ast.Constant(value=bool(value)):
            yield "value", not value
        case ast.Constant(value=int(value) | float(value)):
            yield "value", value + 1
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"):
                yield "test", ast.UnaryOp(ast.Not(), test)
        case ast.Expr(value=ast.Call()):
            yield "value", ast.Constant(None)
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            yield "func", ast.Name(_CALLS[name])


def _difference(was: list[str], becomes: list[str]) -> tuple[str, str]:
    """What of the lines differs, without the spaces around it."""
    start = next(number for number, (a, b) in enumerate(zip(was, becomes, strict=False)) if a != b)
    end = next(number for number, (a, b) in enumerate(zip(was[::-1], becomes[::-1], strict=False)) if a != b)
    return "\n".join(was[start : len(was) - end]).strip(), "\n".join(becomes[start : len(becomes) - end]).strip()
