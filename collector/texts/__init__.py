"""What the page, the alerts and REST say, in Vietnamese and English."""
