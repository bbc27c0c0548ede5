import sys

from agent.run import main

sys.exit(main())
