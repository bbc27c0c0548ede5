"""`python -m collector.archive.results_command`: `collector.ingest.results_command`, its entries in the archive too."""

import sys

from collector.archive.writer import Archive
from collector.ingest.results_command import main
from xomnet.runtime.clock import utc_now

if __name__ == "__main__":
    sys.exit(main(lambda settings: Archive(settings.archive_folder, utc_now)))
