"""The tests that know the date, under a wall clock that is moved."""
