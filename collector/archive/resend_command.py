"""`python -m collector.archive.resend_command`: `collector.ingest.resend` with an archive to keep what it stores."""

import sys

from collector.archive.writer import Archive
from collector.ingest.resend import main
from xomnet.runtime.clock import utc_now

if __name__ == "__main__":
    sys.exit(main(lambda settings: Archive(settings.archive_folder, utc_now)))
