"""The data budget (quota) of each line: bytes a month, counted at its port."""
