"""What a page needs of a request beside its parameters: the reader's language, and the way to the other one."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from collector.texts.texts import LANGUAGES, Language, Texts
from collector.web.errors import RequestError
from collector.web.parameters import Parameters, read_values

COOKIE = "lang"
COOKIE_S = 365 * 86_400


class LanguageParameters(Parameters, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Every page takes it."""

    lang: Annotated[Language | None, Meta(description="Kept in a cookie")] = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    texts: Texts
    other_language: Language
    other_href: str
    """The same page in the other language."""
    keeps_language: bool
    """True if the language was chosen in this request and is not in the cookie yet."""

    def keep_language(self, response: Response) -> None:
        if self.keeps_language:
            response.set_cookie(COOKIE, self.texts.language, max_age=COOKIE_S, httponly=True, samesite="lax")


def page_request(request: Request) -> PageRequest:
    """In the language asked for, else in the one of the cookie, else in Vietnamese. Raises RequestError."""
    chosen = LanguageParameters(**read_values(LanguageParameters, request.url.path, request)).lang
    in_cookie = next((language for language in LANGUAGES if language == request.cookies.get(COOKIE)), None)
    return _page_request(request, chosen or in_cookie or LANGUAGES[0], chosen is not None and chosen != in_cookie)


def page_request_for_error(request: Request) -> PageRequest:
    """The same; in Vietnamese if the request itself asks for a language that does not exist."""
    try:
        return page_request(request)
    except RequestError:
        return _page_request(request, LANGUAGES[0], False)


def _page_request(request: Request, language: Language, keeps_language: bool) -> PageRequest:
    other: Language = "en" if language == "vi" else "vi"
    href = str(request.url.include_query_params(lang=other).replace(scheme="", netloc=""))
    return PageRequest(Texts(language), other, href, keeps_language)
