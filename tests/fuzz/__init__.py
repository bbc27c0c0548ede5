"""Coverage-guided fuzzing of what strangers' bytes reach first. `make fuzz` runs each target ten minutes."""
