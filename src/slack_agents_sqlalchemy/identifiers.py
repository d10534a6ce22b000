"""Names made by the client: 64-bit ids that rise with time, and digests of long keys."""

import hashlib
import secrets
import threading
import time

_EPOCH_US = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z, in microseconds since 1970
_RANDOM_BITS = 12
_DIGEST_BYTES = 20

MAX_ID = 2**63 - 1
DIGEST_LENGTH = 2 * _DIGEST_BYTES


class IdSequence:
    """Makes ids when called: 51 bits of microseconds since 2024 (until 2095), 12 random bits.

    Ids rise within a process, also when the clock steps back or two calls meet in one microsecond.
    Two processes can make the same id (one chance in 4,096 when they meet in the same
    microsecond): the primary key refuses the second, and its caller takes a new one.
    """

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:  # noqa: D102 - the class says it
        microseconds = time.time_ns() // 1_000 - _EPOCH_US
        candidate = (microseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._last = max(candidate, self._last + 1)
            return self._last


next_id = IdSequence()


def digest(*texts: str) -> str:
    """Name texts of any length by one short key that every database compares exactly.

    Args:
        texts: The parts of the key; their order and number are part of its meaning.

    Returns:
        160 bits of BLAKE2b over the length-prefixed UTF-8 of the parts, in lower-case hexadecimal:
        it fits an index of any database and is the same under any collation.
    """
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(encoded))
        state.update(encoded)
    return state.hexdigest()
