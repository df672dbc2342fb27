"""calculate: arithmetic, by the library simpleeval with everything but arithmetic taken out.

Arguments:  {"expression": str}
Content:    JSON {"expression", "value": number | bool}
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

from simpleeval import DEFAULT_OPERATORS, FunctionNotDefined, InvalidExpression, SimpleEval

from consumers.tools.tool import Call, Returned, Tool, ToolFailed, arguments
from weir.agents.canonical import canonical

LARGEST = 10**18
"""Of whole numbers on the way; beyond it they would grow without limit."""
DEEPEST = 60
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "round": lambda value, digits=0: round(value, max(-20, min(20, digits))),
    "min": min, "max": max, "sum": lambda *values: math.fsum(values), "sqrt": math.sqrt,
    "floor": math.floor, "ceil": math.ceil, "log": math.log, "log10": math.log10, "exp": math.exp}
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.UAdd, ast.USub, ast.Eq, ast.NotEq,
             ast.Lt, ast.LtE, ast.Gt, ast.GtE)
NODES = (*OPERATORS, ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.Load)


class Calculate(Tool):
    name = "calculate"
    description = ("Calculates: + - * / // % **, comparisons, parentheses, abs, round, min, max, sum, sqrt, floor, "
                   "ceil, log, log10, exp. Numbers without separators or units. Returns JSON {expression, value}.")
    schema = arguments(["expression"], expression={"type": "string", "minLength": 1, "maxLength": 1000,
                                                   "description": "For example (3 * 38.40 + 12) / 4"})
    timeout = 5.0
    tries = 1

    async def run(self, call: Call) -> Returned:
        expression = call.arguments["expression"]
        return Returned(canonical({"expression": expression, "value": calculate(expression)}))


def calculate(expression: str) -> float | int | bool:
    """The value of an expression.

    Raises:
        ToolFailed: it is no arithmetic, has no value, or is too large; the message says which.
    """
    operators = {kind: _bounded(function) for kind, function in DEFAULT_OPERATORS.items() if kind in OPERATORS}
    operators[ast.Pow] = _bounded(_power)
    functions = {name: _bounded(function) for name, function in FUNCTIONS.items()}
    evaluator = SimpleEval(operators=operators, functions=functions, names={"pi": math.pi, "e": math.e})
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        _check(tree)
        value = evaluator.eval(expression, previously_parsed=tree.body)
    except ToolFailed:
        raise
    except FunctionNotDefined as e:
        raise ToolFailed(f"{e}: there are {', '.join(FUNCTIONS)}.") from e
    except (InvalidExpression, SyntaxError, ArithmeticError, ValueError, TypeError, AttributeError, KeyError,
            RecursionError, MemoryError) as e:
        raise ToolFailed(f"cannot calculate this ({e or type(e).__name__}): write arithmetic alone.") from e
    if not isinstance(value, int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise ToolFailed(f"the value is no finite number: {str(value)[:50]}.")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ToolFailed("the value is beyond 10**18: calculate with decimals, 1.0 for 1.")
    # What a person would write: 31.8, where the machine has 31.799999999999997.
    return float(f"{value:.15g}") if isinstance(value, float) else value


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    def bounded(*values: Any) -> Any:
        if not all(isinstance(value, int | float) for value in values):
            raise ToolFailed("only numbers can be calculated with.")
        if any(isinstance(value, int) and abs(value) > LARGEST for value in values):
            raise ToolFailed("a number on the way is beyond 10**18: calculate with decimals, 1.0 for 1.")
        return function(*values)
    return bounded


def _power(base: float, exponent: float) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and exponent > 0 and abs(base) > 1 and exponent * math.log2(abs(base)) > 60:
        raise ToolFailed("a power on the way is beyond 10**18: calculate with decimals, 1.0 for 1.")
    return base ** exponent


def _check(tree: ast.AST) -> None:
    if _depth(tree) > DEEPEST:
        raise ToolFailed("the expression is nested too deeply: calculate its parts.")
    for node in ast.walk(tree):
        if not isinstance(node, NODES) or (isinstance(node, ast.Call) and node.keywords):
            raise ToolFailed(f"{type(node).__name__} is no arithmetic: write numbers, operators and functions alone.")
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
            raise ToolFailed(f"{str(node.value)[:50]!r} is no number.")


def _depth(node: ast.AST) -> int:
    """How deeply a tree is nested, without recursion."""
    deepest, todo = 0, [(node, 1)]
    while todo:
        at, depth = todo.pop()
        deepest = max(deepest, depth)
        todo += ((child, depth + 1) for child in ast.iter_child_nodes(at))
    return deepest
