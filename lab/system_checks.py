"""Whether this machine can run a configuration now: ports, shared memory, data, disk, libraries, kernel."""

import os
import re
import socket
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from config import ROOT, Config, resolve
from Gateway.providers import DataError
from Gateway.source import make_provider
from lab.findings import Finding, error, ok, warning
from shared_memory.segment import SHM_DIR, Segment, SegmentError
from shared_memory_utils import RECORD_DTYPE

MB: Final = 1 << 20


def check_system(config: Config) -> Iterator[Finding]:
    """Everything found, in the order in which a start would meet it."""
    yield from check_libraries()
    yield from check_ports(config)
    yield from check_segments(config)
    yield from check_data(config)
    yield from check_disk(config)


def check_libraries() -> Iterator[Finding]:
    """Installed versions against the ranges of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = []
    for requirement in project["dependencies"]:
        wanted, _, marker = requirement.partition(";")
        if "linux" in marker and sys.platform != "linux":
            continue
        name = re.split(r"[<>=~!]", wanted)[0].strip()
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield error(name, "is not installed", "make run, or pip install -r requirements.txt")
            continue
        if not _within(installed, wanted.strip().removeprefix(name)):
            yield error(name, f"{installed} is installed, {wanted.strip()} is needed")
        found.append(f"{name} {installed}")
    yield ok("libraries", ", ".join(found))


def _within(installed: str, ranges: str) -> bool:
    """Whether a version is in a range such as `>=0.19,<1`, by its numbers."""
    for found in re.finditer(r"(>=|<)([0-9.]+)", ranges):
        least = _numbers(installed) >= _numbers(found[2])
        if least is not (found[1] == ">="):
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def check_ports(config: Config) -> Iterator[Finding]:
    """Whether every port can be listened on."""
    gateway, orders = config.Gateway, config.OrderManager
    wanted = {
        "Gateway.md_port": (gateway.host, gateway.md_port),
        "Gateway.news_port": (gateway.host, gateway.news_port),
        "OrderBook.control_port": ("127.0.0.1", config.OrderBook.control_port),
        "OrderManager.port": (orders.host, orders.port),
        "OrderManager.events_port": (orders.host, orders.events_port),
    }
    taken = False
    for key, (host, port) in wanted.items():
        fault = _cannot_listen(host, port)
        if fault:
            taken = True
            yield error(key, f"{host}:{port}: {fault}{_listener(port)}", "stop that, or choose another port")
    dashboard = config.Dashboard
    if dashboard.enabled and (fault := _cannot_listen(dashboard.host, dashboard.port)):
        where = f"{dashboard.host}:{dashboard.port}: {fault}{_listener(dashboard.port)}"
        yield warning("Dashboard.port", where, "a run goes on without its dashboard")
    if not taken:
        yield ok("ports", ", ".join(str(port) for _, port in wanted.values()) + " are free")


def _cannot_listen(host: str, port: int) -> str:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as fault:
        return fault.strerror or str(fault)
    return ""


def _listener(port: int) -> str:
    """Who listens there, where the kernel tells us."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return ""
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.pid
        if listens and connection.laddr and connection.laddr.port == port:
            return f" by process {connection.pid}"
    return ""


def check_segments(config: Config) -> Iterator[Finding]:
    """What is in shared memory under the configured name, and room for a tape."""
    name = config.OrderBook.shared_memory_name
    stale = []
    for path in sorted(SHM_DIR.glob(f"{name}*")):
        if path.name not in (name, f"{name}.tape", f"{name}.tape.bells"):
            continue
        if _owned(path.name):
            yield error(
                str(path), "a running OrderBook owns it", "stop it, or change OrderBook.shared_memory_name"
            )
        else:
            stale.append(path.name)
    if stale:
        yield warning(
            str(SHM_DIR), f"left by a run that was killed: {', '.join(stale)}", "the next start clears it"
        )
    disk = os.statvfs(SHM_DIR)
    needed = config.OrderBook.tape_capacity * RECORD_DTYPE.itemsize
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        yield error(
            str(SHM_DIR), f"{free // MB} MB are free, OrderBook.tape_capacity needs {needed // MB} MB"
        )


def _owned(name: str) -> bool:
    """Whether a live process holds a segment; one of another layout is nobody's."""
    try:
        with (SHM_DIR / name).open("rb") as file:
            magic = int.from_bytes(file.read(8), "little")
        segment = Segment.attach(name, magic)
    except (SegmentError, OSError):
        return False
    try:
        return segment.claimed(0)
    finally:
        segment.close()


def check_data(config: Config) -> Iterator[Finding]:
    """Whether the market can be made."""
    try:
        source, file = make_provider(config)
    except DataError as fault:
        yield error("Gateway.data_path", str(fault))
        return
    except ValueError as fault:
        yield error("Gateway", str(fault))
        return
    source.close()
    if file is None:
        yield ok("market", f"{config.Gateway.provider}, {len(config.symbols)} symbols")
        return
    for symbol in file.missing:
        yield warning("Gateway.data_path", f"no row of {symbol}", "it will never tick")
    for reason, count in file.rejected.items():
        yield warning(
            "Gateway.data_path", f"{count:,} rows rejected: {reason}", f"sim data inspect {file.path}"
        )
    yield ok("market", f"{file.loaded:,} rows of {Path(config.Gateway.data_path).name}")


def check_disk(config: Config) -> Iterator[Finding]:
    """Room for what the Recorder writes."""
    folder = resolve(config.run.export_dir)
    while not folder.exists():
        folder = folder.parent
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize // MB
    if free < config.Recorder.min_free_mb:
        limit = config.Recorder.min_free_mb
        yield error(
            str(folder), f"{free} MB are free: nothing is recorded below Recorder.min_free_mb ({limit})"
        )
    if not os.access(folder, os.W_OK):
        yield error(str(folder), "cannot be written to", "change run.export_dir")
