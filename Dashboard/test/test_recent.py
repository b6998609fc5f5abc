"""The last minutes: bounded, and unmoved by restarts."""

from hypothesis import given
from hypothesis import strategies as st

from Dashboard.recent import GROUP, MINUTE_S, RATES_KEPT, SNAPSHOT_S, Recent, coarse_histograms
from Dashboard.test.statuses import histogram, status
from trading_lib.histogram import Histogram


def test_rates_are_counts_over_the_time_between_two_statuses() -> None:
    recent = Recent()
    recent.take(status(10.0, ticks=1000, orders=10))
    recent.take(status(12.0, ticks=1500, orders=11))
    (rate,) = recent.rates
    assert (rate.ticks, rate.orders) == (250.0, 0.5)


def test_a_part_that_was_restarted_has_no_negative_rate() -> None:
    recent = Recent()
    recent.take(status(10.0, ticks=1000))
    recent.take(status(11.0, ticks=20))
    assert recent.rates[-1].ticks == 0


def test_a_minute_of_histograms_is_kept_and_ten_of_rates() -> None:
    recent = Recent()
    for second in range(2000):
        recent.take(status(float(second)))
    times = [snapshot["uptime_s"] for snapshot in recent.snapshots()]
    assert times[-1] - times[0] >= MINUTE_S - SNAPSHOT_S and 1999 - times[0] >= MINUTE_S
    assert len(times) <= MINUTE_S / SNAPSHOT_S + 2 and len(recent.rates) == RATES_KEPT
    assert recent.snapshots()[0]["histograms"]["order_manager"]["tick→order"]["counts"]


@given(st.lists(st.integers(0, 1 << 45), min_size=1, max_size=200), st.sampled_from([50, 90, 99, 99.9]))
def test_what_browsers_get_is_never_understated_and_at_most_a_little_over(
    values: list[int], percent: float
) -> None:
    parts = status(order_manager={"histograms": {"tick→order": histogram(*values)}})["parts"]
    exact = Histogram.from_dict(histogram(*values))
    coarse = Histogram.from_dict(coarse_histograms(parts)["order_manager"]["tick→order"])
    true, told = exact.percentile(percent), coarse.percentile(percent)
    assert true is not None and told is not None and coarse.total == exact.total
    assert true <= told <= true * 1.016 + GROUP


def test_nothing_is_known_before_the_first_status() -> None:
    recent = Recent()
    assert not recent.rates and recent.snapshots() == []


def test_a_steady_part_has_a_steady_rate_though_two_of_its_statuses_come_between_two_of_mains() -> None:
    recent = Recent()
    for uptime_s, ticks, at in ((1.0, 200, 0.9), (2.0, 400, 1.9), (3.0, 400, 1.9), (4.0, 800, 3.9)):
        told = {"status_at_s": at}
        recent.take(status(uptime_s, ticks=ticks, orderbook=told))
    assert [rate.ticks for rate in recent.rates] == [200.0, 200.0, 200.0]
