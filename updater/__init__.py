"""Keeps a unit's release, certificate and identity: upgrade, rollback, renewal, first boot.

It does not live in the release that it replaces: deployment copies this folder to the unit, and the unit's own Python
runs it. So nothing here imports anything beyond the standard library, nor anything else of xomnet.
"""
