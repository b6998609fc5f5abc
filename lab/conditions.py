"""Conditions between parameters, such as `fast < slow and quantity * 2 <= 100`.

    holds = condition("fast < slow", ["fast", "slow"])
    holds({"fast": 5, "slow": 20})            # True

The text is parsed, never run: names, numbers, texts, comparisons, + - * /, and, or, not, parentheses.
"""

import ast
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

LONGEST: Final = 300  # characters; nesting that Python cannot parse is much longer

Condition = Callable[[Mapping[str, Any]], bool]
_Evaluate = Callable[[Mapping[str, Any]], Any]

ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class BadCondition(ValueError):
    """A condition that cannot be understood, or not be decided; the message says what is allowed."""


def condition(text: str, names: Collection[str]) -> Condition:
    """The function that a text means. Raises BadCondition; so does the function where it cannot decide."""
    if len(text) > LONGEST:
        raise BadCondition(f"a condition of more than {LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError) as fault:
        raise BadCondition(f"{text!r}: {fault}") from None
    evaluate = _compiled(tree.body, names)

    def decide(values: Mapping[str, Any]) -> bool:
        try:
            return bool(evaluate(values))
        except (TypeError, ArithmeticError) as fault:
            raise BadCondition(f"{text!r} with {dict(values)}: {fault}") from None

    return decide


def _compiled(node: ast.expr, names: Collection[str]) -> _Evaluate:
    """A closure for an expression; only what is listed here exists."""
    match node:
        case ast.Constant(value=int() | float() | str() as constant):
            return lambda _: constant
        case ast.Name(id=name):
            if name not in names:
                raise BadCondition(f"{name} is no parameter that is varied: only {', '.join(sorted(names))}")
            return lambda values: values[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            negated = _compiled(inner, names)
            return lambda values: -negated(values)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            denied = _compiled(inner, names)
            return lambda values: not denied(values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            a, b, compute = _compiled(left, names), _compiled(right, names), ARITHMETIC[type(op)]
            return lambda values: compute(a(values), b(values))
        case ast.BoolOp(op=ast.And(), values=parts):
            both = [_compiled(part, names) for part in parts]
            return lambda values: _first(both, values, wanted=False)
        case ast.BoolOp(values=parts):
            either = [_compiled(part, names) for part in parts]
            return lambda values: _first(either, values, wanted=True)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(
            type(op) in COMPARISONS for op in ops
        ):
            terms = [_compiled(term, names) for term in (left, *others)]
            return lambda values: _in_order([term(values) for term in terms], ops)
    raise BadCondition(f"{ast.unparse(node)!r}: only names, numbers, comparisons, + - * /, and, or, not")


def _first(parts: Sequence[_Evaluate], values: Mapping[str, Any], *, wanted: bool) -> Any:
    """The value of the first part that is true or not, as wanted, or else of the last: what `or`, `and` give."""
    value: Any = None
    for part in parts:
        value = part(values)
        if bool(value) is wanted:
            break
    return value


def _in_order(terms: list[Any], ops: list[ast.cmpop]) -> bool:
    """`a < b <= c`, as Python means it."""
    return all(COMPARISONS[type(op)](a, b) for op, a, b in zip(ops, terms[:-1], terms[1:], strict=True))
