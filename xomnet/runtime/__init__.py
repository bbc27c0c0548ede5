"""What a daemon needs: logs, systemd, files that survive a power cut, failpoints for the tests."""
