"""Run a program as an unprivileged user, from a process that is root.

Postgres refuses to run as root, and in containers everything is. This program becomes another
user and then the given program, in the same process. It keeps one capability, to pass through
directories that only root may enter: a checkout under /root, or a temporary directory of mode
0700, is no reason to fail. Where the kernel denies that, the program runs without it.

usage: run_unprivileged.py UID GID PROGRAM [ARGUMENT…]
"""

from __future__ import annotations

import ctypes
import os
import sys

_CAP_DAC_OVERRIDE = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become(uid: int, gid: int) -> None:
    """Give up root for ``uid``, keeping the passage through closed directories where possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    linux = sys.platform.startswith("linux")
    if linux:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if linux:
        kept = 1 << _CAP_DAC_OVERRIDE
        data = (_Data * 2)(_Data(kept, kept, kept), _Data(0, 0, 0))
        libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), data)
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def main(argv: list[str]) -> None:
    become(int(argv[1]), int(argv[2]))
    os.execv(argv[3], argv[3:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv)
