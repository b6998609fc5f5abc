"""The last minutes: bounded, and unmoved by restarts."""

from Dashboard.recent import MINUTE_S, RATES_KEPT, SNAPSHOT_S, Recent
from Dashboard.test.statuses import status


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


def test_nothing_is_known_before_the_first_status() -> None:
    recent = Recent()
    assert not recent.rates and recent.snapshots() == []
