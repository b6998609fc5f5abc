"""Regimes: how long they last, how often each is there, what they do to the price. Bounds are 4 standard errors."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

from trading_lib.simulation import YEAR_S, MarketRegime, Regime, make_model
from trading_lib.simulation.generators import Floats

YEAR = YEAR_S["calendar"]
TWO = Regime(
    regimes=(MarketRegime(mu=5.0, sigma=0.2, hold_s=4.0), MarketRegime(mu=-9.0, sigma=0.9, hold_s=1.0))
)
THREE = Regime(regimes=(*TWO.regimes, MarketRegime(mu=0.0, sigma=0.5, hold_s=0.5)))


def levels(p: Regime, dt_s: Floats, seed: int = 3) -> Floats:
    """The regime after each step."""
    model = make_model(p, seed, "X")
    model.steps(dt_s)
    found = model.levels()
    assert found is not None
    return found


def stays(found: Floats) -> dict[int, list[int]]:
    """By regime, for how many steps each complete stay lasted."""
    switches = np.flatnonzero(np.diff(found)) + 1
    lengths: dict[int, list[int]] = {}
    for start, stop in pairwise(switches):
        lengths.setdefault(int(found[start]), []).append(int(stop - start))
    return lengths


@pytest.mark.parametrize("p", [TWO, THREE], ids=["two", "three"])
def test_each_lasts_an_exponential_time_of_its_mean(p: Regime) -> None:
    lengths = stays(levels(p, np.full(400_000, 0.01)))
    assert set(lengths) == set(range(1, len(p.regimes) + 1))
    for number, found in lengths.items():
        seconds = np.array(found) * 0.01
        hold_s = p.regimes[number - 1].hold_s
        assert seconds.mean() == pytest.approx(hold_s, abs=4 * hold_s / math.sqrt(len(found)))
        assert seconds.std() == pytest.approx(hold_s, abs=4 * hold_s * math.sqrt(2 / len(found)))
        assert scipy.stats.kstest(seconds, "expon", (0, hold_s)).pvalue > 1e-4


def test_after_each_every_other_is_as_likely() -> None:
    found = levels(THREE, np.full(400_000, 0.01))
    before, after = found[:-1], found[1:]
    for regime in (1, 2, 3):
        following = after[(before == regime) & (after != regime)]
        counts = np.unique(following, return_counts=True)[1]
        assert len(counts) == 2
        assert counts[0] / counts.sum() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(counts.sum()))


def test_each_is_there_for_its_share_of_the_time() -> None:
    """Of two, the shares are those of the mean times they last."""
    found = levels(TWO, np.full(20_000, 20.0))
    assert (found == 1).mean() == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / 20_000))


def test_no_schedule_moves_a_switch() -> None:
    """What regimes there are at the same times is the same, seen every 10 ms or every 3 s."""
    fine, coarse = levels(THREE, np.full(60_000, 0.01)), levels(THREE, np.full(200, 3.0))
    assert (fine[299::300] == coarse).all()


def test_a_switch_inside_a_step_counts_from_its_instant() -> None:
    """Without noise a path is the integral of the drift: the same whatever the steps are."""
    calm = Regime(
        regimes=(MarketRegime(mu=5e4, sigma=0.0, hold_s=4.0), MarketRegime(mu=-9e4, sigma=0.0, hold_s=1.0))
    )
    fine = make_model(calm, 3, "X").steps(np.full(60_000, 0.01))
    coarse = make_model(calm, 3, "X").steps(np.full(20, 30.0))
    np.testing.assert_allclose(fine[2999::3000], coarse, rtol=1e-9)
    whole = make_model(calm, 3, "X").steps(np.array([600.0]))
    np.testing.assert_allclose(whole, coarse[-1:], rtol=1e-9)


def test_variances_add_up_over_the_regimes_of_a_step() -> None:
    """Over steps much longer than the regimes: E of the variance is the shares' mean of sigma^2."""
    p = Regime(regimes=tuple(MarketRegime(mu=0.0, sigma=r.sigma, hold_s=r.hold_s) for r in TWO.regimes))
    gains = np.diff(np.log(make_model(p, 4, "X").steps(np.full(20_000, 20.0))), prepend=math.log(100))
    expected = (0.8 * 0.2**2 + 0.2 * 0.9**2) * 20 / YEAR
    squares = (gains + expected / 2) ** 2
    assert squares.mean() == pytest.approx(expected, abs=4 * squares.std() / math.sqrt(20_000))


def test_within_a_regime_it_is_its_brownian_motion() -> None:
    p = THREE
    dt_s = 0.01
    model = make_model(p, 6, "X")
    gains = np.diff(np.log(model.steps(np.full(200_000, dt_s))))
    after = model.levels()
    assert after is not None
    for number, regime in enumerate(p.regimes, 1):
        inside = gains[(after[:-1] == number) & (after[1:] == number)]
        drift = (regime.mu - regime.sigma**2 / 2) * dt_s / YEAR
        normals = (inside - drift) / (regime.sigma * math.sqrt(dt_s / YEAR))
        assert normals.var() == pytest.approx(1, abs=4 * math.sqrt(2 / len(inside)))
        assert normals.mean() == pytest.approx(0, abs=4 / math.sqrt(len(inside)))


def test_a_shorter_hold_shortens_the_stay_that_has_begun() -> None:
    """What has passed of it has passed, the rest goes by at the new rate."""
    dt_s = np.full(20_000, 0.01)
    first = (np.flatnonzero(levels(TWO, dt_s) == 2)[0] + 1) * 0.01
    model = make_model(TWO, 3, "X")
    model.steps(np.array([first / 2]))
    quicker = [MarketRegime(mu=r.mu, sigma=r.sigma, hold_s=r.hold_s / 4) for r in TWO.regimes]
    model.change(regimes=quicker)
    model.steps(dt_s)
    after = model.levels()
    assert after is not None
    assert (np.flatnonzero(after == 2)[0] + 1) * 0.01 == pytest.approx(first / 8, abs=0.02)


def test_regimes_keep_their_number_while_it_runs() -> None:
    model = make_model(TWO, 3, "X")
    with pytest.raises(ValueError, match="regimes: as many as there were"):
        model.change(regimes=THREE.regimes)
