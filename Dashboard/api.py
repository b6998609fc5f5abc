"""The JSON API beside the pages: state and history to read, and the operator's actions.

Times in ns are strings in every answer; prices and money are numbers, null where there is none.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from Dashboard.answers import json_answer, require_control
from Dashboard.api_runs import add_runs
from Dashboard.api_system import add_system
from Dashboard.checked import Wrong, from_json
from Dashboard.desk import Desk, Refusal
from Dashboard.price_history import thinned
from trading_lib.control import OperatorAction

MAX_ACTION: Final = 1 << 14  # bytes: 32 parameters of a model are under 2,500
MOST_POINTS: Final = 20_000
PARTS: Final = ("orderbook", "order_manager", "strategy", "gateway", "recorder")

Count = Annotated[int, Query(ge=1, le=2000, description="at most so many, the newest")]


def make_api(desk: Desk) -> APIRouter:
    """The routes below `/api`."""
    api = APIRouter(prefix="/api")
    _add_market(api, desk)
    _add_money(api, desk)
    _add_control(api, desk)
    add_runs(api, desk)
    add_system(api, desk)
    return api


def _add_market(api: APIRouter, desk: Desk) -> None:
    market = desk.market

    @api.get("/state", tags=["state"])
    async def state() -> Response:
        """The run that is on: its id, how far its tape is, money in total, and whether main.py answers."""
        return json_answer(
            {
                "run_id": market.run_id,
                "attached": market.attached,
                "live": desk.system.live,
                "seq": market.seq,
                "ts": str(market.ts),
                "epoch": desk.money.total()["epoch"],
                "ticks": market.ticks,
                "missed": market.missed,
                "symbols": len(market.symbols),
                "total": desk.money.total(),
            }
        )

    @api.get("/prices", tags=["market"])
    async def prices(symbol: Annotated[list[str] | None, Query()] = None) -> Response:
        """The latest price of every symbol, or of those asked for."""
        wanted = set(symbol) if symbol else None
        rows = []
        for slot, name in enumerate(market.symbols):
            if wanted is None or name in wanted:
                price, sentiment = market.prices[slot].item(), market.sentiment[slot].item()
                rows.append(
                    {
                        "symbol": name,
                        "price": _known(price),
                        "ts": str(market.times[slot]),
                        "ticks_per_s": round(market.rates[slot].item(), 1),
                        "sentiment": _known(sentiment),
                    }
                )
        return json_answer(rows)

    @api.get("/prices/{symbol}/history", tags=["market"])
    async def history(symbol: str, points: Annotated[int, Query(ge=2, le=MOST_POINTS)] = 2000) -> Response:
        """A symbol's prices in this epoch, up to two hours of them, thinned to about so many points."""
        if symbol not in market.symbols:
            raise HTTPException(404, f"{symbol}: no such symbol")
        line = thinned(market.beginning(symbol), points)
        return json_answer({"symbol": symbol, "ms": line.ms.tolist(), "values": line.values.tolist()})

    @api.get("/news", tags=["market"])
    async def news() -> Response:
        """The newest news items of this epoch."""
        return json_answer(
            [{"ts": str(item.ts), "symbol": item.symbol, "sentiment": item.sentiment} for item in market.news]
        )


def _known(value: float) -> float | None:
    return None if value != value else value


def _add_money(api: APIRouter, desk: Desk) -> None:
    money = desk.money

    @api.get("/money", tags=["money"])
    async def lanes() -> Response:
        """Every strategy's money, and the total."""
        return json_answer({"total": money.total(), "lanes": list(money.lanes.values())})

    @api.get("/equity", tags=["money"])
    async def equity() -> Response:
        """Equity curves of this epoch by strategy, and in total: points of (event time in ms, equity)."""
        return json_answer({name: curve.points for name, curve in money.curves.items()})

    @api.get("/orders", tags=["money"])
    async def orders(count: Count = 200) -> Response:
        """The newest updates of orders."""
        return json_answer(list(money.orders.kept)[-count:])

    @api.get("/orders/open", tags=["money"])
    async def open_orders() -> Response:
        """Orders that are not done: at most 2,000 of them."""
        return json_answer(list(money.open.values())[-2000:])

    @api.get("/fills", tags=["money"])
    async def fills(count: Count = 200) -> Response:
        """The newest fills."""
        return json_answer(list(money.fills.kept)[-count:])

    @api.get("/strategies", tags=["state"])
    async def strategies() -> Response:
        """What each strategy is doing: state, version, indicators, why it does not trade."""
        return json_answer(desk.system.strategies())

    @api.get("/system", tags=["state"])
    async def system() -> Response:
        """Every process: state, CPU, memory, restarts, counters, latencies."""
        return json_answer(desk.system.system())


def _add_control(api: APIRouter, desk: Desk) -> None:
    @api.post("/control", tags=["control"])
    async def control(request: Request) -> Response:
        """Have an operator's action done, `{"action": "pause"}` for one; see docs/PROTOCOL.md for all.

        The answer says at which record of the tape it has taken effect, or (409) why it has not.
        """
        require_control(request)
        body = await request.body()
        if len(body) > MAX_ACTION:
            raise HTTPException(413, f"an action has at most {MAX_ACTION} bytes")
        try:
            answer = await desk.act(from_json("control", body, OperatorAction))
        except Wrong as fault:
            raise HTTPException(422, str(fault)) from None
        except Refusal as fault:
            raise HTTPException(409, str(fault)) from None
        return json_answer({"ok": True, "id": answer.id, "seq": answer.seq})

    @api.post("/parts/{part}/{command}", tags=["control"])
    async def parts(request: Request, part: str, command: str) -> Response:
        """Have main.py `kill` or `start` a part."""
        require_control(request)
        if command not in ("kill", "start"):
            raise HTTPException(404, f"{command}: no such command, only kill and start")
        try:
            await desk.command({command: part})
        except Refusal as fault:
            raise HTTPException(409, str(fault)) from None
        return json_answer({"ok": True})


def api_page(schema: dict[str, Any]) -> str:
    """The API's description as one page without scripts, made from its OpenAPI schema."""
    import html

    rows = []
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            parameters = ", ".join(one["name"] for one in told.get("parameters", ()))
            text = html.escape(told.get("description", told.get("summary", "")))
            rows.append(
                f"<tr><td><code>{method.upper()}</code></td><td><code>{html.escape(path)}</code></td>"
                f"<td><code>{html.escape(parameters)}</code></td><td>{text}</td></tr>"
            )
    return (
        "<!doctype html><meta charset=utf-8><title>algosim API</title>"
        "<style>body{font:14px/1.5 system-ui;margin:2rem;max-width:70rem}td,th{text-align:left;"
        "padding:.4rem 1rem .4rem 0;vertical-align:top;border-bottom:1px solid #8884}</style>"
        "<h1>algosim API</h1><p>Schema: <a href='/api/openapi.json'>/api/openapi.json</a>. Live data: "
        "<code>ws://…/stream</code>, see docs/DASHBOARD.md.</p><table><tr><th>method<th>path<th>parameters"
        f"<th>what it does</tr>{''.join(rows)}</table>"
    )
