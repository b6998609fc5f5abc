"""A run that was stopped by hand, and its evaluation, which stops where the run did."""

import signal
from pathlib import Path

from lab.like import end_of, evaluate_like
from lab.test.live import CROSSOVER, KINDS, PATIENCE_S, differing, living, manifest, market


def test_a_run_stopped_by_hand_is_evaluated_up_to_its_last_record(tmp_path: Path) -> None:
    file = tmp_path / "mine" / "strategy.py"
    file.parent.mkdir()
    file.write_text(Path(KINDS["path"]).read_text())
    settings = market(
        8, run={"duration_s": 0}, Strategy={"strategies": [{**KINDS, "path": str(file)}, CROSSOVER]}
    )
    with living(tmp_path, **settings) as live:
        live.trades_on()
        live.let_everybody_catch_up()
        assert live.process.stop(signal.SIGINT, PATIENCE_S) == 0, live.process.output
    run = live.run
    assert manifest(run)["why_not"] == []
    file.write_text("def on_tick(ctx, tick): pass\n")  # what has become of the file does not count

    result = evaluate_like(run, out=tmp_path / "evaluation", report=False)

    assert differing(run, tmp_path / "evaluation") == []
    assert result.manifest["last_seq"] == manifest(run)["last_seq"]
    assert end_of(run) == end_of(tmp_path / "evaluation")


def test_a_run_whose_source_ended_is_evaluated_to_the_same_bytes(live_run: Path, tmp_path: Path) -> None:
    evaluate_like(live_run, out=tmp_path / "evaluation", report=False)
    assert differing(live_run, tmp_path / "evaluation") == []
