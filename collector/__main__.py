import sys

from collector.run import main

sys.exit(main())
