"""The archive: every accepted message as it came, byte for byte, with the time of its receipt.

Guarantee
    A unit is answered when its result is in the database and here. `append` returns after fsync, of the folder too
    where the file is new; where the disk refuses, it raises StoreUnavailable and nothing of the call stays.
    From this folder alone a database can be built again: it also holds, as records of the agent '', what the server
    itself decided (exclusions, closed months).

Constraints
    - A message is any bytes. Whatever goes in comes out: no way of writing it assumes that it is JSON.
    - Several processes append at once, the collector and `resend`; each append holds `append.lock`.
    - A record is in the file of the day on which it was appended, by the province's time. It may have been received
      on an earlier day: what was stored once keeps the time of its first receipt.
    - A log holds a message as often as it came; a day file holds it once. A reader may still meet it twice, of two
      days, or while a day is sealed.

Layout
    `2026-10-31.log`, of a day in hand, and `2026-10-31.day`, sealed, are frames (`frames`):

        magic AB 58 41 BA | length of the body | CRC-32 of the body | CRC-32 of these three | body

    The first byte of a body says what it is:
    - `L` (`batches`), in a log: zlib of msgpack, a list of (received_ms, agent, payload, late).
    - `D` (`blocks`, `columns`), in a day file: some 8,000 records, sorted by unit, line and time of receipt. Messages
      of one shape share it, and what differs goes by columns through LZMA.
    - `E` (`reader.End`), the last of a day file: how many records, and a digest of them all.

Damage
    A frame that fails its check is lost, with nothing beside it: the reader goes on at the next magic. The end of a log
    that is the beginning of a frame, or zeros, is what the death of a writer left; it was never acknowledged, and the
    next append cuts it. Anything else stays where it is, and is told to whoever reads.

Sealing (`sealing`)
    A day that is over is written beside (`.day.new`), synced, read back, compared, renamed; then its log goes. A file
    with damage is kept as `.damaged`.

Deletion (`retention`)
    Whole days, the oldest first, where the settings say so (`archive.keep_days`, `archive.max_gb`); never today's. The
    server's own records of such a day are written into today's log first.
"""

from collector.archive.frames import Damage
from collector.archive.reader import read_records
from collector.archive.writer import Archive

__all__ = ["Archive", "Damage", "read_records"]
