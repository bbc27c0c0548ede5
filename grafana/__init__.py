"""Grafana's dashboards and alert rules as code. `python -m grafana` writes the files that Grafana reads.

One module for each dashboard says which panels it has and what they ask; `texts/` has every word, once for each
language; `panels` knows Grafana's JSON, `influxql` the database's language. Nothing here runs on the server.
"""
