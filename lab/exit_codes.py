"""How a command ends, besides 0 and 1; 78 is `runtime.part.EXIT_CONFIG`."""

from typing import Final

EXIT_CHECK: Final = 3  # a check said no
EXIT_DATA: Final = 65  # EX_DATAERR of sysexits.h
