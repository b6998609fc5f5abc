"""What code in a worker can do, and what it cannot: each in a process that is locked in, and may be root."""

import _ctypes
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared_memory_utils import SharedPriceBook
from Strategy import landlock, sandbox, seccomp
from testing.harness import segment_name

JAIL = Path(__file__).with_name("jail.py")

if sys.platform != "linux":
    pytest.skip("only Linux has Landlock and seccomp", allow_module_level=True)
if seccomp.library() is None:
    pytest.skip("there is no libseccomp (Debian: libseccomp2)", allow_module_level=True)
needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")


class Jail:
    """The process that forks a locked-in one for each snippet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "own"
        self.folder.mkdir()
        (self.folder / "data.csv").write_text("a,b\n1,2\n")
        (self.folder / "beside.py").write_text("VALUE = 7\n")
        (self.folder / "cached.py").write_text("import numba\n@numba.njit(cache=True)\ndef f(x): return x\n")
        (self.folder / "open.bin").write_bytes(b"\0" * 4096)
        (self.folder / "link").symlink_to("data.csv")
        (folder / "secret").write_text("the token")
        (folder / "library.so").write_bytes(Path(_ctypes.__file__).read_bytes())
        self._process = subprocess.Popen(
            [sys.executable, str(JAIL), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin", "A_SECRET": "x", "OPENBLAS_NUM_THREADS": "1", "TZ": "UTC"},
        )

    def run(self, code: str, **order: Any) -> dict[str, Any]:
        """What became of a snippet."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"code": code, **order}) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def jail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jail]:
    made = Jail(tmp_path_factory.mktemp("jail"))
    yield made
    made.close()


CTYPES = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"


def number_of(name: str) -> int:
    """A system call's number on this machine."""
    library = seccomp.library()
    return int(library.resolve_syscall(library.Arch.NATIVE, name))


def call(name: str, *arguments: object) -> str:
    """A raw system call by ctypes, as an error of Python's if it fails."""
    given = "".join(f", {argument}" for argument in arguments)
    return (
        f"{CTYPES}if libc.syscall({number_of(name)}{given}) < 0: raise OSError(ctypes.get_errno(), 'denied')\n"
        "result = 'it went through'"
    )


@pytest.mark.parametrize(
    ("code", "counted"),
    [
        ("import os\nos.fork()", "fork clone"),
        ("import os\nos.execv('/bin/true', ['true'])", "execve"),
        (
            "import os\nif os.system('true'): raise PermissionError('the shell did not run')",
            "vfork clone clone3",
        ),
        ("import subprocess\nsubprocess.run(['/bin/true'])", "pipe2 vfork clone"),
        ("import os\nos.posix_spawn('/bin/true', ['true'], {})", "vfork clone"),
        ("import socket\nsocket.socket()", "socket"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 80))", "socket"),
        ("import socket\nsocket.socketpair()", "socketpair"),
        ("import os, socket\nsocket.socket(fileno=os.dup(line)).connect('/tmp/any')", "connect"),
        ("import os\nos.kill(parent, 9)", "kill"),
        ("import os\nos.kill(-1, 0)", "kill"),
        ("import os\nos.pidfd_open(parent)", "pidfd_open"),
        ("import os\nos.memfd_create('x')", "memfd_create"),
        ("import os\nos.setuid(12345)", "setuid"),
        ("import os\nos.nice(-5)", "setpriority getpriority"),
        ("import os\nos.unlink(folder + '/data.csv')", "unlink unlinkat"),
        ("import os\nos.mkdir(folder + '/new')", "mkdir mkdirat"),
        ("import os\nos.symlink('/etc/passwd', folder + '/link')", "symlink symlinkat"),
        ("import os\nos.chmod(folder + '/data.csv', 0o777)", "chmod fchmodat"),
        ("import os\nos.rename(folder + '/data.csv', folder + '/b')", "rename renameat renameat2"),
        ("import os\nos.truncate(folder + '/data.csv', 0)", "truncate"),
        ("import resource as r\nr.setrlimit(r.RLIMIT_NOFILE, (99, 99))", "prlimit64"),
        (call("ptrace", 16, "parent", 0, 0), "ptrace"),
        (call("process_vm_readv", "parent", 0, 0, 0, 0, 0), "process_vm_readv"),
        (call("io_uring_setup", 8, 0), "io_uring_setup"),
        (call("unshare", 0x10000000), "unshare"),
        (call("mount", 0, 0, 0, 0, 0), "mount"),
        (call("bpf", 0, 0, 0), "bpf"),
        (call("perf_event_open", 0, 0, 0, 0, 0), "perf_event_open"),
        (call("userfaultfd", 0), "userfaultfd"),
        (call("shmget", 0, 4096, 0), "shmget"),
        (call("open_by_handle_at", 0, 0, 0), "open_by_handle_at"),
        (call("prctl", 38, 0, 0, 0, 0), "prctl"),
        (call("seccomp", 1, 0, 0), "seccomp"),
        (call("landlock_restrict_self", 99, 0), "landlock_restrict_self"),
        (call("clone", 17, 0, 0, 0, 0), "clone"),
        (call("pidfd_getfd", 9, 0, 0), "pidfd_getfd"),
        (call("tgkill", "parent", "parent", 9), "tgkill"),
        (call("rt_sigqueueinfo", "parent", 9, 0), "rt_sigqueueinfo"),
        (call("keyctl", 0, -3, 0), "keyctl"),
        (call("mq_open", 0, 0, 0, 0), "mq_open"),
        (call("chroot", 0), "chroot"),
        (call("setsockopt", "line", 1, 7, 0, 0), "setsockopt"),
        (call("inotify_init1", 0), "inotify_init1"),
    ],
)
def test_it_is_denied_and_counted_by_name_and_the_worker_lives(jail: Jail, code: str, counted: str) -> None:
    found = jail.run(code)
    assert found["error"].startswith(("PermissionError", "BlockingIOError", "ValueError: not allowed")), found
    assert found["exit"] == 0
    if found["counted"]:
        assert set(found["denied"]) & set(counted.split()), found


@needs_landlock
@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd')",
        "import os\nos.listdir('/')",
        "import os\nos.listdir('/dev/shm')",
        "open('/proc/self/mem', 'rb')",
        "open(f'/proc/{parent}/mem', 'rb')",
        "open('/proc/1/environ', 'rb')",
        "import os\nopen(os.path.dirname(folder) + '/secret')",
        "open(folder + '/data.csv', 'a')",
        "open(folder + '/new.txt', 'w')",
        "open('/tmp/algosim-escape', 'w')",
        "open('/dev/shm/algosim-escape', 'w')",
        "open(folder + '/../secret')",
        "import os\nopen(os.path.dirname(folder) + '/library.so', 'rb')",
    ],
)
def test_files_that_are_not_its_own_cannot_be_opened_and_none_be_written(jail: Jail, code: str) -> None:
    found = jail.run(code)
    assert found["error"].startswith("PermissionError"), found
    assert found["exit"] == 0


@needs_landlock
def test_a_library_from_elsewhere_is_not_loaded(jail: Jail) -> None:
    found = jail.run("import ctypes, os\nctypes.CDLL(os.path.dirname(folder) + '/library.so')")
    assert found["error"].startswith("OSError") and "Permission denied" in found["error"], found


@needs_landlock
def test_the_market_cannot_be_opened_by_name(jail: Jail) -> None:
    name = segment_name()
    with closing(SharedPriceBook(["A"], name=name, create=True)) as book:
        try:
            for mode in ("rb", "r+b"):
                found = jail.run(f"open({str(book.segment.path)!r}, {mode!r})")
                assert found["error"].startswith("PermissionError"), found
        finally:
            book.unlink()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has them")
def test_a_32_bit_call_does_not_exist_and_does_not_kill(jail: Jail) -> None:
    code = f"{CTYPES}if libc.syscall(0x40000000 + 39) < 0: raise OSError(ctypes.get_errno(), 'denied')"
    found = jail.run(code)
    assert "denied" in found["error"] and found["exit"] == 0


def test_descriptors_of_others_are_gone(jail: Jail) -> None:
    assert jail.run("import os\nos.read(secret, 1)")["error"] == "OSError: [Errno 9] Bad file descriptor"


def test_what_is_mapped_read_only_stays_so(jail: Jail) -> None:
    found = jail.run("import mmap\nmmap.mmap(kept, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)")
    assert found["error"].startswith("PermissionError")
    code = f"""{CTYPES}
import mmap, numpy
view = mmap.mmap(kept, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
address = numpy.frombuffer(view, 'u1').ctypes.data
if libc.mprotect(ctypes.c_void_p(address), 4096, 3): raise OSError(ctypes.get_errno(), 'denied')
"""
    assert jail.run(code)["error"].startswith("PermissionError")


@pytest.mark.parametrize(
    "code",
    [
        "import fcntl\nfcntl.flock(kept, fcntl.LOCK_SH)",
        "import fcntl\nfcntl.lockf(kept, fcntl.LOCK_SH)",
        "import fcntl\nfcntl.fcntl(kept, fcntl.F_SETLEASE, fcntl.F_RDLCK)",
        "import fcntl\nfcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)",
    ],
)
def test_nothing_is_held_that_others_would_wait_for(jail: Jail, code: str) -> None:
    found = jail.run(code)
    assert found["error"].startswith("PermissionError"), found


MAPPED = f"""{CTYPES}
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
def mapped(size, rights, flags, fd):
    found = libc.mmap(None, ctypes.c_size_t(size), rights, flags, fd, ctypes.c_long(0))
    if found == 2**64 - 1: raise OSError(ctypes.get_errno(), 'denied')
    return found
"""


def test_a_page_that_was_given_does_not_become_more_of_its_file(jail: Jail) -> None:
    found = jail.run(f"""{MAPPED}
page = mapped(4096, 1, 1, kept)
more = libc.mremap(ctypes.c_void_p(page), ctypes.c_size_t(4096), ctypes.c_size_t(8192), 1)
result = more == 2**64 - 1
""")
    assert (found["error"], found["result"], found["denied"]) == ("", True, {})


def test_who_sleeps_on_a_shared_page_cannot_be_carried_off(jail: Jail) -> None:
    found = jail.run(f"""{MAPPED}
page = mapped(4096, 1, 1, kept)
given = [ctypes.c_long(value) for value in ({number_of("futex")}, page, 3, 1, 1, page + 4, 0)]
if libc.syscall(*given) < 0: raise OSError(ctypes.get_errno(), 'denied')
""")
    assert found["error"].startswith("PermissionError"), found


@pytest.mark.parametrize("flags", ["0x01 | 0x20", "0x02 | 0x20 | 0x100"], ids=["shared", "a stack"])
def test_there_is_no_memory_that_the_limit_does_not_count(jail: Jail, flags: str) -> None:
    found = jail.run(f"{MAPPED}mapped(4096, 3, {flags}, -1)")
    assert found["error"].startswith("PermissionError"), found


def test_addresses_are_bounded_for_their_page_tables_are_memory_too(jail: Jail) -> None:
    found = jail.run("import mmap\nmmap.mmap(-1, 20 << 30, mmap.MAP_PRIVATE, mmap.PROT_READ)")
    assert "Cannot allocate memory" in found["error"] and found["exit"] == 0
    found = jail.run("import mmap\nmmap.mmap(-1, 12 << 30, mmap.MAP_PRIVATE, mmap.PROT_READ)")
    assert found["error"] == ""


def test_numbers_that_are_no_system_calls_are_counted_under_one_name(jail: Jail) -> None:
    found = jail.run(f"{CTYPES}for number in range(5000, 5100): libc.syscall(number)")
    assert not found["counted"] or found["denied"] == {"no system call": 100}


def test_the_environment_is_forgotten(jail: Jail) -> None:
    found = jail.run("import os, ctypes\nresult = [dict(os.environ), ctypes.CDLL(None).getenv(b'A_SECRET')]")
    environment, secret = found["result"]
    assert set(environment) <= {"TZ", "LC_CTYPE"} and secret == 0


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\nasyncio.new_event_loop()",
        "import tempfile\ntempfile.TemporaryFile()",
        "import multiprocessing\nmultiprocessing.get_context('spawn').Lock()",
        "import mmap\nmmap.mmap(-1, 4096)",
        "import sys\nsys.path.insert(0, folder)\nimport cached",
    ],
    ids=["asyncio", "tempfile", "multiprocessing", "mmap", "njit with a cache"],
)
def test_what_may_surprise_is_an_error_and_not_the_end(jail: Jail, code: str) -> None:
    found = jail.run(code)
    assert found["error"] and found["exit"] == 0, found


@needs_landlock
def test_a_strategy_file_in_the_folder_of_the_project_is_announced(jail: Jail) -> None:
    assert jail.run("")["missing"] == []
    (said,) = jail.run("", readable=str(sandbox.PROJECT))["missing"]
    assert said == f"a strategy can read this whole project, its runs too: its file lies in {sandbox.PROJECT}"


@needs_landlock
def test_of_the_project_only_the_library_can_be_read(jail: Jail) -> None:
    root = str(sandbox.PROJECT)
    assert jail.run(f"open({root!r} + '/trading_lib/wire.py')")["error"] == ""
    for path in ("config.json", "Strategy/worker.py", "docs"):
        assert jail.run(f"import os\nos.open({root!r} + '/{path}', os.O_RDONLY)")["error"].startswith(
            "PermissionError"
        )


def test_root_is_not_above_the_permissions_of_files(jail: Jail) -> None:
    (jail.folder / "open.bin").chmod(0o444)
    assert jail.run("import os\nresult = os.access(folder + '/open.bin', os.W_OK)")["result"] is False


def test_writing_is_counted_and_reading_what_is_not_its_own_is_not(jail: Jail) -> None:
    assert jail.run("open(folder + '/data.csv', 'a')")["denied"] in ({"openat": 1}, {})
    assert jail.run("open('/etc/passwd')")["denied"] == {}


@needs_landlock
def test_a_descriptor_that_may_only_read_is_not_opened_again_for_writing(jail: Jail) -> None:
    found = jail.run("import os\nos.open(f'/proc/self/fd/{kept}', os.O_RDWR)")
    assert found["error"].startswith("PermissionError"), found


def test_more_memory_than_it_may_have_is_a_memory_error(jail: Jail) -> None:
    found = jail.run("import numpy\nnumpy.ones(100_000_000)", memory_mb=256)
    assert "MemoryError" in found["error"] and found["exit"] == 0
    found = jail.run("import numpy\nresult = float(numpy.ones(10_000_000).sum())", memory_mb=256)
    assert found["result"] == 1e7


def test_calls_without_end_are_all_answered(jail: Jail) -> None:
    code = """
import os
result = 0
for _ in range(1000):
    try: os.kill(1, 0)
    except PermissionError: result += 1
"""
    found = jail.run(code)
    assert found["result"] == 1000
    assert not found["counted"] or (found["denied"], found["answered"]) == ({"kill": 1000}, 1000)


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("import numpy as np\nresult = float(np.linalg.solve(np.eye(2) * 2, np.ones(2))[0])", 0.5),
        ("import pandas as pd\nresult = float(pd.DataFrame({'a': [1, 2]}).rolling(2).mean().a[1])", 1.5),
        (
            "import pandas as pd\nresult = int(pd.DataFrame({'a': [1, 1], 'b': [2, 3]}).groupby('a').b.sum()[1])",
            5,
        ),
        ("import numba\n@numba.njit\ndef f(x): return x + 1\nresult = f(1)", 2),
        (
            "import threading\nfound = []\nt = threading.Thread(target=found.append, args=(3,))\n"
            "t.start()\nt.join()\nresult = found[0]",
            3,
        ),
        ("import statistics, decimal, fractions\nresult = statistics.mean([1, 3])", 2),
        (
            "import datetime, zoneinfo\nzone = zoneinfo.ZoneInfo('America/New_York')\nresult = zone.key",
            "America/New_York",
        ),
        ("import random, math, time, json, re\ntime.sleep(0.001)\nresult = math.floor(random.random())", 0),
        ("result = open(folder + '/data.csv').read()", "a,b\n1,2\n"),
        ("import sys\nsys.path.insert(0, folder)\nimport beside\nresult = beside.VALUE", 7),
        ("import sqlite3.dbapi2\nresult = 1", 1),
        ("import os\nresult = len(os.urandom(8))", 8),
        ("import pathlib\nresult = pathlib.Path(folder, 'link').resolve().name", "data.csv"),
        (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "with ThreadPoolExecutor(2) as pool: result = list(pool.map(abs, [-1]))",
            [1],
        ),
        ("import numpy as np\nresult = float((np.ones((300, 300)) @ np.ones((300, 300)))[0, 0])", 300.0),
        ("import pandas as pd\nresult = int(pd.read_csv(folder + '/data.csv').b[0])", 2),
        ("import os\nresult = [os.getpid() > 0, os.getuid() >= 0]", [True, True]),
        (
            "from trading_lib.strategy import NewsBasedStrategy\nresult = NewsBasedStrategy().bullish_threshold",
            60,
        ),
    ],
)
def test_what_a_strategy_needs_goes_on_working(jail: Jail, code: str, result: object) -> None:
    found = jail.run(code)
    assert (found["error"], found["result"], found["denied"]) == ("", result, {}), found


def test_a_parallel_kernel_runs_on_threads_of_its_own(jail: Jail) -> None:
    found = jail.run("""
import numba, numpy, warnings
warnings.simplefilter("ignore")  # Numba's: no semaphore in /dev/shm, which only other processes would need
@numba.njit(parallel=True)
def total(values):
    found = 0.0
    for place in numba.prange(values.size): found += values[place]
    return found
result = total(numpy.ones(1000))
""")
    assert (found["error"], found["result"]) == ("", 1000.0), found
