"""Alerts without Grafana.

`conditions` has what lines are alerted of, `rules` decides (pure), `texts` and `digest` write the messages, `store`
keeps alerts and messages over a restart, `service` runs, `dispatcher` sends.
"""
