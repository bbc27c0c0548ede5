"""The store that the settings name."""

from collector.settings import CollectorSettings, SqliteSettings
from collector.store import Store
from xomnet.runtime.clock import utc_now
from xomnet.runtime.secrets import read_secret


def open_store(settings: CollectorSettings, *, read_only: bool = False) -> Store:
    """The store that the settings name; one that is only read is left as it is, and waits for no writer.

    Raises StoreUnavailable or SecretError.
    """
    if isinstance(settings.store, SqliteSettings):
        from collector.store.retention import Retention  # noqa: PLC0415  # one of the two is needed
        from collector.store.sqlite import SqliteStore  # noqa: PLC0415

        days = settings.store.keep_days
        retention = None if days is None else Retention(days, utc_now)
        return SqliteStore(settings.store.path, retention=retention, read_only=read_only)
    from collector.store.influx import InfluxStore  # noqa: PLC0415

    influx = settings.store
    token = read_secret(influx.token_file)
    turn = settings.state_dir / "store.turn"
    return InfluxStore(influx.url, token, influx.bucket, influx.org, influx.timeout_s, influx.rollups_bucket, turn)
