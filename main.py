"""Run the whole system: `python main.py [config.json]`, until Ctrl-C.

Exit codes: 0 stopped cleanly, 1 a part failed for good (or was killed by a second Ctrl-C), 78 bad configuration.
"""

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console

from config import DEFAULT_CONFIG, Config, ConfigError, load_config, resolve
from logger import close_logger, get_logger
from runtime.output import Output
from runtime.part import EXIT_CONFIG
from runtime.reporting import write_report
from runtime.status_view import View
from runtime.supervisor import Supervisor


def main(argv: list[str] | None = None) -> int:
    """Start the parts, watch them, stop them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="main.py", description="Run the trading lab until Ctrl-C.")
    parser.add_argument("config", nargs="?", type=Path, default=DEFAULT_CONFIG, help="default: config.json")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="more on the console; twice: all")
    arguments = parser.parse_args(argv)
    try:
        return supervise(load_config(arguments.config), arguments.verbose)
    except ConfigError as fault:
        print(fault, file=sys.stderr)
        return EXIT_CONFIG


def supervise(config: Config, verbose: int = 0, *, headless: bool = False) -> int:
    """Run the system that a configuration describes; returns the exit code. Raises ConfigError.

    `headless`: a plain line a second, also on a terminal.
    """
    try:
        log = get_logger("main", resolve(config.run.log_dir), console=False)
    except OSError as fault:
        raise ConfigError(f"run.log_dir = {config.run.log_dir!r}: {fault.strerror}") from None
    try:
        with Output(sys.stdout) as output, _view(output, headless) as view:
            with Supervisor(config, log, view.say, verbose) as supervisor:
                view.say(f"run {supervisor.run_id}: starting, logs in {config.run.log_dir}/")
                exit_code = supervisor.run(view.show)
            if config.Recorder.enabled and exit_code != EXIT_CONFIG and not supervisor.forced:
                presses = supervisor.interrupts
                write_report(
                    supervisor.run_dir,
                    supervisor.status(),
                    lambda: supervisor.interrupts > presses,
                    view.say,
                    page=config.Recorder.report,
                )
        if exit_code == EXIT_CONFIG and not supervisor.has_played:
            _remove(supervisor.run_dir, log)
        if output.dropped:
            log.warning("%d lines were not shown: nobody read the output", output.dropped)
        log.info("stopped, exit code %d", exit_code)
        return exit_code
    finally:
        close_logger(log)


def _remove(folder: Path, log: logging.Logger) -> None:
    """Of a run that never began: files that say only so."""
    try:
        shutil.rmtree(folder)
    except OSError as fault:
        log.warning("%s is left behind: %s", folder, fault)


def _view(output: Output, headless: bool) -> View:
    return View(Console(file=cast(TextIO, output), force_terminal=False if headless else None))


if __name__ == "__main__":
    sys.exit(main())
