"""What every model of a price promises, whichever it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_lib.simulation import (
    GBM,
    OU,
    Heston,
    Jump,
    MarketRegime,
    Model,
    Parameters,
    Regime,
    make_model,
    make_models,
    named_generator,
    paths,
)
from trading_lib.simulation.generators import Floats

REGIMES = (
    MarketRegime(mu=0.1, sigma=0.1, hold_s=3.0),
    MarketRegime(mu=-0.2, sigma=0.5, hold_s=0.7),
    MarketRegime(mu=0.0, sigma=0.3, hold_s=1.5),
)
EVERY = (
    OU(kappa=0.8, theta=0.1, sigma=0.2, mu=0.02, x0=-0.1),
    OU(kappa=0.0, sigma=3.0, price="add", P0=20.0),
    GBM(mu=0.1, sigma=0.3, year="sessions"),
    Jump(intensity=2e7, jump_mean=-0.001, jump_sd=0.01),
    Regime(regimes=REGIMES),
    Heston(v0=0.09, kappa=3.0, theta=0.04, xi=0.9),
    Heston(v0=0.01, kappa=1e6, theta=0.04, xi=500.0, rho=0.3, year="sessions"),  # often at 0
)
CHANGES: dict[type[Parameters], dict[str, object]] = {
    OU: {"kappa": 2.0, "theta": 0.3, "sigma": 0.4, "mu": 0.1},
    GBM: {"mu": -1.0, "sigma": 0.9},
    Jump: {"mu": -1.0, "sigma": 0.9, "jump_mean": 0.1, "jump_sd": 0.0},
    Regime: {"regimes": tuple(MarketRegime(mu=9.0, sigma=2.0, hold_s=r.hold_s) for r in REGIMES)},
    Heston: {"mu": 1.0, "kappa": 1.0, "theta": 0.2, "xi": 0.2, "rho": 0.0},
}
every_model = pytest.mark.parametrize("parameters", EVERY, ids=lambda p: type(p).__name__)
LONG_S = 100.0

spacings = st.lists(
    st.sampled_from([0.0, 1e-9, 0.15, 0.2, 0.2, 0.2, LONG_S]) | st.floats(1e-6, 10.0), max_size=40
).map(lambda steps: np.array(steps, np.float64))


def walk(model: Model, dt_s: Floats) -> tuple[bytes, bytes]:
    """The bytes of prices and levels."""
    prices = model.steps(dt_s)
    levels = model.levels()
    return prices.tobytes(), b"" if levels is None else levels.tobytes()


@every_model
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(parameters: Parameters) -> None:
    dt_s = np.full(500, 0.2)
    once, again = (walk(make_model(parameters, 42, "AAPL"), dt_s) for _ in range(2))
    assert once == again
    assert walk(make_model(parameters, 43, "AAPL"), dt_s)[0] != once[0]
    assert walk(make_model(parameters, 42, "MSFT"), dt_s)[0] != once[0]


@every_model
@settings(max_examples=60, deadline=None, derandomize=True)
@given(dt_s=spacings, cuts=st.lists(st.integers(0, 40), max_size=6))
def test_where_a_call_ends_changes_nothing(parameters: Parameters, dt_s: Floats, cuts: list[int]) -> None:
    whole = walk(make_model(parameters, 1, "X"), dt_s)
    model = make_model(parameters, 1, "X")
    pieces = [walk(model, piece) for piece in np.split(dt_s, sorted(cuts))]
    assert whole == (b"".join(p for p, _ in pieces), b"".join(q for _, q in pieces))


@every_model
def test_equal_steps_cut_anywhere_are_the_same(parameters: Parameters) -> None:
    """Equal steps take a shorter way, for which their number must not matter."""
    dt_s = np.full(2000, 0.15)
    whole = make_model(parameters, 1, "X").steps(dt_s)
    for size in (1, 7, 64, 999):
        model = make_model(parameters, 1, "X")
        pieces = [model.steps(dt_s[k : k + size]) for k in range(0, 2000, size)]
        assert np.concatenate(pieces).tobytes() == whole.tobytes()


@every_model
@settings(max_examples=30, deadline=None, derandomize=True)
@given(before=spacings, undone=spacings, after=spacings)
def test_a_restored_model_goes_on_as_if_nothing_had_been(
    parameters: Parameters, before: Floats, undone: Floats, after: Floats
) -> None:
    plain, other = make_model(parameters, 5, "X"), make_model(parameters, 5, "X")
    plain.steps(before)
    other.steps(before)
    state = other.state()
    other.change(**CHANGES[type(parameters)])
    other.steps(undone)
    other.restore(state)
    assert other.state() == plain.state()
    assert walk(other, after) == walk(plain, after)


@every_model
def test_a_change_keeps_state_and_innovations(parameters: Parameters) -> None:
    plain, other = make_model(parameters, 9, "X"), make_model(parameters, 9, "X")
    dt_s = np.full(100, 0.2)
    assert walk(plain, dt_s) == walk(other, dt_s)
    value = other.state().value
    other.change(**CHANGES[type(parameters)])
    assert other.state().value == value
    assert walk(plain, dt_s)[0] != walk(other, dt_s)[0]
    assert plain.state().chance == other.state().chance


@every_model
def test_a_change_to_what_it_was_changes_nothing(parameters: Parameters) -> None:
    plain, other = make_model(parameters, 9, "X"), make_model(parameters, 9, "X")
    for _ in range(5):
        fields = CHANGES[type(parameters)]
        other.change(**{name: getattr(parameters, name) for name in fields})
        dt_s = np.full(20, 0.2)
        np.testing.assert_allclose(other.steps(dt_s), plain.steps(dt_s), rtol=1e-12)


@every_model
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"P0": 50.0}, "P0: says how to start"),
        ({"nonsense": 1.0}, "no parameter 'nonsense', only .*(sigma|xi|regimes)"),
        ({"mu": "much"}, "float|mu"),
        ({"sigma": -1.0, "xi": -1.0, "regimes": []}, "sigma|xi|regimes"),
    ],
)
def test_a_change_that_cannot_be_meant_is_refused_and_changes_nothing(
    parameters: Parameters, changes: dict[str, object], why: str
) -> None:
    model = make_model(parameters, 9, "X")
    before = model.state()
    with pytest.raises(ValueError, match=why):
        model.change(**changes)
    assert model.state() == before


@every_model
def test_more_symbols_change_none_of_the_earlier(parameters: Parameters) -> None:
    dt_s = np.full(50, 0.2)
    correlation = np.full((3, 3), 0.5) + 0.5 * np.eye(3)
    for matrix in (None, correlation):
        two = make_models(parameters, ["A", "B"], 3, matrix if matrix is None else matrix[:2, :2])
        three = make_models(parameters, ["A", "B", "C"], 3, matrix)
        assert [walk(m, dt_s) for m in two] == [walk(m, dt_s) for m in three[:2]]
    assert walk(make_model(parameters, 3, "B"), dt_s) == walk(make_models(parameters, ["A", "B"], 3)[1], dt_s)


@every_model
def test_prices_and_levels_can_be_published(parameters: Parameters) -> None:
    model = make_model(parameters, 3, "A")
    prices = model.steps(np.append(np.full(300, 0.2), np.full(300, LONG_S)))
    levels = model.levels()
    assert prices.shape == (600,)
    assert (prices > 0).all()
    assert (levels is None) == (parameters.labels == ())
    if levels is not None:
        assert levels.shape == prices.shape
        assert levels.dtype == np.float64
        assert (levels > 0).all()


@every_model
def test_plain_python_gives_the_compiled_bytes(
    parameters: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dt_s = named_generator(1, "steps").exponential(0.2, 1000)
    dt_s[::100] = LONG_S
    compiled = walk(make_model(parameters, 4, "A"), dt_s)
    monkeypatch.setattr(paths, "compiled", bool)  # False
    assert walk(make_model(parameters, 4, "A"), dt_s) == compiled


def test_symbols_must_differ_and_parameters_be_meant() -> None:
    with pytest.raises(ValueError, match="symbols: each once, not A, A"):
        make_models(GBM(), ["A", "A"], 1)
    with pytest.raises(ValueError, match=r"sigma: must be at least 0, not -1\.0; year: must be one of"):
        make_model(GBM(sigma=-1.0, year="leap"), 1, "A")  # type: ignore[arg-type]
