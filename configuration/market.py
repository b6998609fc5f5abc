"""The model of a simulated market, as a configuration gives it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from trading_lib.simulation import Parameters

DEFAULT_MODEL: Final = "ou"


def model_parameters(model: Mapping[str, Any]) -> "Parameters":
    """A `Gateway.model`. Raises ValueError."""
    from trading_lib.simulation import TYPES  # 100 ms, and most configurations have no model

    name = model.get("type", DEFAULT_MODEL)
    if not isinstance(name, str) or name not in TYPES:
        raise ValueError(f"Gateway.model.type = {name!r}: expected {' or '.join(map(repr, TYPES))}")
    kind = TYPES[name]
    for key in model:
        if key not in ("type", *kind.__struct_fields__):
            known = ", ".join(("type", *kind.__struct_fields__))
            raise ValueError(f"Gateway.model.{key}: no such key, only {known}")
    try:
        parameters = msgspec.convert({key: model[key] for key in model if key != "type"}, kind)
    except msgspec.ValidationError as fault:
        problem, _, where = str(fault).partition(" - at ")
        path = where.strip("`").removeprefix("$")
        raise ValueError(f"Gateway.model{path}: {problem[:1].lower()}{problem[1:]}") from None
    for wrong in parameters.check():
        raise ValueError(f"Gateway.model.{wrong}")
    return parameters
