"""Messages that are read past paho are those that paho would have read."""

import struct

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as paho
from paho.mqtt._packet import decode_publish

from tests.support.mqtt_packets import variable_byte_integer
from xomnet.mqtt.client import _varint, parse_publish


def publish(topic: str, payload: bytes, qos: int, mid: int, properties: bytes | None) -> bytes:
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + (struct.pack(">H", mid) if qos else b"")
    body += b"" if properties is None else variable_byte_integer(len(properties)) + properties
    return bytes([0x30 | qos << 1]) + variable_byte_integer(len(body + payload)) + body + payload


EXPIRY = b"\x02\x00\x00\x00\x05"
"""The property MessageExpiryInterval."""


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200),
    st.binary(max_size=400),
    st.integers(0, 1),
    st.integers(1, 65_535),
    st.sampled_from([None, b"", EXPIRY]),
    st.binary(max_size=5),
    st.binary(max_size=5),
)
def test_a_message_is_read_as_paho_reads_it(
    topic: str, payload: bytes, qos: int, mid: int, properties: bytes | None, before: bytes, after: bytes
) -> None:
    packet = publish(topic, payload, qos, mid, properties)
    found = parse_publish(before + packet + after, len(before), properties is not None)
    assert found is not None
    _, body_at = _varint(packet, 1)
    protocol = paho.MQTTv311 if properties is None else paho.MQTTv5
    theirs = decode_publish(packet[0], bytearray(packet[body_at:]), protocol)
    assert (found.topic.encode(), found.payload, found.mid) == (theirs.topic, bytes(theirs.payload), theirs.mid)
    assert found.end == len(before) + len(packet)
    for length in range(len(packet)):
        assert parse_publish(packet[:length], 0, properties is not None) is None


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_message_or_left_to_paho(data: bytes, version5: bool) -> None:
    found = parse_publish(data, 0, version5)
    assert found is None or (data[0] & 0xF4 == 0x30 and found.end <= len(data))
