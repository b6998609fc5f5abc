"""The lab: strategies evaluated without sockets or clock, runs replayed, files compared.

from lab import evaluate

result = evaluate("strategies/sma_crossover/strategy.py", "data/market_data-1.csv")
print(result)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.evaluation import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]


def __getattr__(name: str) -> Any:
    """Imported when asked for: pandas takes longer than most commands."""
    if name in __all__:
        from lab import evaluation

        return getattr(evaluation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
