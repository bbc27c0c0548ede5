"""Alerts without Grafana: what is told, to whom, once. `decide` is pure; `book` keeps; `desk` runs; `send` sends."""
