"""Texts: nothing that acts on a page, a terminal or a Word file gets past the contract, and Vietnamese does."""

import json
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.test_messages import changed
from xomnet.contract.characters import TEXT_PATTERN, clean_json, printable, unfit_characters
from xomnet.contract.commands import decode_reply
from xomnet.contract.messages import SpeedResult, decode_ack, decode_result, decode_state
from xomnet.contract.values import MAX_TEXT, to_text

HOSTILE = [
    "\x00", "\n", "\x1b", "\x7f", "\x9b", "\xad", "\u061c", "\u200b", "\u200c", "\u200d", "\u200f", "\u2028",
    "\u2029", "\u202e", "\u2060", "\u2066", "\ufeff", "\ufff9", "\ufffe", "\uffff",
]  # fmt: skip
LONE = ["\ud800", "\udfff", "\udc00\ud800"]
VIETNAMESE = "Xóm Đồng Ngữ, xã Hải Ất, Nghĩa Hưng – «ổn định» ≥ 70 Mb/s 😀"
any_text = st.text(st.characters(codec=None, categories=None))


def detail(payload: bytes) -> str:
    found = decode_result(payload)
    assert isinstance(found, SpeedResult)
    assert found.data.error_detail is not None
    return found.data.error_detail


@pytest.mark.parametrize("letter", HOSTILE + LONE, ids=ascii)
def test_a_hostile_letter_of_a_unit_becomes_a_space_escaped_or_not(letter: str) -> None:
    escaped = changed(data__error_detail=f"a{letter}b")
    assert detail(escaped) == "a" + " " * len(letter) + "b"
    raw = json.dumps({**json.loads(escaped), "mood": letter}, ensure_ascii=False).encode(errors="surrogatepass")
    assert detail(raw).isprintable()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_vietnamese_stays_as_it_is(form: Any) -> None:
    text = unicodedata.normalize(form, VIETNAMESE)
    assert detail(changed(data__error_detail=text)) == to_text(text) == printable(text) == text
    assert unfit_characters(text) == ""


def test_every_message_of_a_unit_is_cleaned() -> None:
    state = b'{"v":1,"agent":"a","online":true,"version":"1\\u202e\xc2\x9b"}'
    reply = b'{"id":"6f1c1b9e-6b0c-4c52-9d0c-0a1f6d2f3b11","agent":"a","ok":true,"detail":"\\ud800",' \
            b'"settings":{"log_level":"\\u202e"}}'  # fmt: skip
    assert decode_state(state).version == "1  "
    answer = decode_reply(reply)
    assert (answer.detail, answer.settings) == (" ", {"log_level": " "})
    ack = b'{"agent":"a","time":"2026-11-01T00:00:00Z",' \
          b'"rejected":[{"spool":"6f1c1b9e-6b0c-4c52-9d0c-0a1f6d2f3b11","seq":1,"reason":"\xff"}]}'  # fmt: skip
    assert decode_ack(ack).rejected[0].reason == "\ufffd"


@given(any_text)
@example("\\u202e \\\\ \\n \\")
def test_a_document_keeps_its_form_and_loses_only_what_cannot_be_printed(text: str) -> None:
    document = json.dumps({"text": text, "number": 1.5, "list": [text, "b"]})
    found = json.loads(clean_json(document.encode()))
    assert len(found["text"]) <= len(text)
    assert found["text"] == found["list"][0]
    assert found["text"].isprintable()
    if text.isprintable():
        assert found["text"] == text
    assert clean_json(clean_json(document.encode())) == clean_json(document.encode())


@given(st.binary())
def test_any_bytes_are_cleaned_to_printable_ones(payload: bytes) -> None:
    assert clean_json(payload).decode().isprintable()


@given(any_text)
def test_what_a_unit_says_and_what_is_typed_meet_the_schema(text: str) -> None:
    assert re.search(TEXT_PATTERN, to_text(text))
    assert len(to_text(text)) <= MAX_TEXT
    if not unfit_characters(text):
        assert re.search(TEXT_PATTERN, text)


@pytest.mark.parametrize("letter", HOSTILE + LONE[:2], ids=ascii)
def test_what_a_person_must_not_type_is_named(letter: str) -> None:
    assert unfit_characters(f"Xóm{letter} 5{letter}") == f"U+{ord(letter):04X}"
    assert unfit_characters("Xóm\u00a05") == "", "Word and Excel make such spaces"
