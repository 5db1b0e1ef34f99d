r"""String formats of JSON schema and pydantic, as patterns that match only valid values.

JSON schema calls a format an annotation, and llguidance's own patterns allow more than validators accept: the year
0000, February 30, second 60, `A:` as a URL. Every match of a pattern here is a value that pydantic accepts and that is
valid in its JSON schema format. Some valid values are left out, for example URLs that are neither http nor https.

A pattern needs no escapes in JSON: it never matches a quote, a backslash (except in `regex`) or a control character.
"""

from typing import NamedTuple
from zoneinfo import available_timezones


class Format(NamedTuple):
    """A format of strings.

    Args:
        pattern: A regular expression that a whole value matches.
        example: A short valid value. An answer that is cut by its budget is completed with its end.
    """

    pattern: str
    example: str


def format_named(name: str) -> Format | None:
    """Return a format by its name in a JSON schema, or None if every string has it."""
    return _time_zones() if name == "zoneinfo" else FORMATS.get(name)


def url_pattern(schemes: str) -> str:
    """Return the pattern of URLs with these schemes, for example "https?". File URLs have a path and no host."""
    if schemes == "file":
        return rf"file://(?:/{_PATH_CHARACTER}+)+"
    return rf"(?:{schemes})://{_HOST}(?::[1-9][0-9]{{0,3}})?(?:/{_PATH_CHARACTER}*)*{_QUERY}"


def _time_zones() -> Format:
    return Format("|".join(sorted(available_timezones() - {"localtime"})).replace("+", r"\+") or "UTC", "UTC")


_LEAP_YEAR = r"(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_DATE = (
    r"(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    rf"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_OFFSET = r"(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])"

_NUMBER = "[0-9]{1,4}"
_IN_DAY = rf"T(?:{_NUMBER}H(?:{_NUMBER}M(?:{_NUMBER}S)?)?|{_NUMBER}M(?:{_NUMBER}S)?|{_NUMBER}S)"
_IN_YEAR = rf"{_NUMBER}M(?:{_NUMBER}D)?"
_DURATION = rf"P(?:{_NUMBER}W|(?:{_NUMBER}D|{_IN_YEAR}|[0-9]{{1,3}}Y(?:{_IN_YEAR})?)(?:{_IN_DAY})?|{_IN_DAY})"

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_GROUP = "[0-9a-f]{1,4}"
_SHORTENED = "|".join(
    rf"(?:{_GROUP}:){{{before}}}(?::{_GROUP}){{1,{7 - before}}}" for before in range(1, 7)
)  # 1::8, 1:2::8, …
_IPV6 = rf"(?:(?:{_GROUP}:){{7}}{_GROUP}|{_SHORTENED}|:(?::{_GROUP}){{1,7}}|(?:{_GROUP}:){{1,6}}:|::)"
_IPV4_NETWORK = (
    rf"(?:{_IPV4}(?:/32)?|{_OCTET}(?:\.{_OCTET}){{2}}\.0/24|{_OCTET}\.{_OCTET}\.0\.0/16|{_OCTET}\.0\.0\.0/8)"
)
_IPV6_NETWORK = rf"(?:{_IPV6}(?:/128)?|(?:{_GROUP}:){{4}}:/64|(?:{_GROUP}:){{3}}:/48|(?:{_GROUP}:){{2}}:/32|::/0)"
_IPV4_INTERFACE = rf"{_IPV4}(?:/(?:3[0-2]|[12]?[0-9]))?"
_IPV6_INTERFACE = rf"{_IPV6}(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?"

_LABEL = "[A-Za-z0-9]{1,30}(?:-[A-Za-z0-9]{1,30})?"
_TOP_LEVEL = "(?:[a-z]{2,3}|info|name|email|online|store|museum)"  # without .test, .local, .invalid and the like
_HOST = rf"(?:(?:{_LABEL}\.){{1,3}}[a-z]{{2,12}}|[a-z]{{1,12}}|{_IPV4})"
_PATH_CHARACTER = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})"
_QUERY = rf"(?:\?(?:{_PATH_CHARACTER}|[/?])*)?(?:#(?:{_PATH_CHARACTER}|[/?])*)?"
_EMAIL = (
    r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,20}(?:\.[A-Za-z0-9_+-]{1,20}){0,2}"
    rf"@(?:{_LABEL}\.){{1,3}}{_TOP_LEVEL}"
)

_HEX = "[0-9a-f]"


def _uuid(version: str) -> Format:
    pattern = rf"{_HEX}{{8}}-{_HEX}{{4}}-{version}{_HEX}{{3}}-[89ab]{_HEX}{{3}}-{_HEX}{{12}}"
    return Format(pattern, f"00000000-0000-{version[-1]}000-8000-000000000000")


def _base64(last: str) -> Format:
    """Return base64 of ASCII text, which decodes both as bytes and as a string. `last` are the characters 62 and 63."""
    first, second, third = "[A-Za-f]", "[A-HQ-Xg-nw-z0-3]", "[ABEFIJMNQRUVYZcdghklopstwx014589]"
    fourth = rf"[A-Za-z0-9{last}]"
    end = f"(?:{first}[AQgw]==|{first}{second}[AEIMQUYcgkosw048]=)?"
    return Format(f"(?:{first}{second}{third}{fourth})*{end}", "")


_PATH = Format(r"/?[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9_. -]{0,99})*", "a")
_IRI = Format(url_pattern("https?"), "http://a")
_MAIL = Format(_EMAIL, "a@b.co")
_HOSTNAME = Format(rf"{_LABEL}(?:\.{_LABEL}){{0,3}}", "a")

FORMATS = {
    "date": Format(_DATE, "2000-01-01"),
    "time": Format(_CLOCK + _OFFSET, "00:00:00Z"),
    "date-time": Format(f"{_DATE}T{_CLOCK}{_OFFSET}", "2000-01-01T00:00:00Z"),
    "local-date-time": Format(f"{_DATE}T{_CLOCK}", "2000-01-01T00:00:00"),  # of pydantic's NaiveDatetime
    "duration": Format(_DURATION, "P1D"),
    "uuid": Format(rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}", "00000000-0000-4000-8000-000000000000"),
    **{f"uuid{version}": _uuid(str(version)) for version in range(1, 9)},
    "ipv4": Format(_IPV4, "1.1.1.1"),
    "ipv6": Format(_IPV6, "::"),
    "ipv4network": Format(_IPV4_NETWORK, "1.1.1.1"),
    "ipv6network": Format(_IPV6_NETWORK, "::"),
    "ipv4interface": Format(_IPV4_INTERFACE, "1.1.1.1"),
    "ipv6interface": Format(_IPV6_INTERFACE, "::"),
    "ipvanyaddress": Format(f"{_IPV4}|{_IPV6}", "::"),
    "ipvanynetwork": Format(f"{_IPV4_NETWORK}|{_IPV6_NETWORK}", "::"),
    "ipvanyinterface": Format(f"{_IPV4_INTERFACE}|{_IPV6_INTERFACE}", "::"),
    "hostname": _HOSTNAME,
    "idn-hostname": _HOSTNAME,
    "email": _MAIL,
    "idn-email": _MAIL,
    "name-email": Format(rf"[A-Z][a-z]{{0,20}}(?: [A-Z][a-z]{{0,20}}){{0,3}} <{_EMAIL}>", "A <a@b.co>"),
    "uri": _IRI,
    "iri": _IRI,
    "uri-reference": _IRI,
    "iri-reference": _IRI,
    "uri-template": _IRI,
    "multi-host-uri": Format(url_pattern("postgresql"), "postgresql://a"),
    "json-pointer": Format("(?:/[A-Za-z0-9_-]*)*", ""),
    "relative-json-pointer": Format("(?:0|[1-9][0-9]{0,3})(?:#|(?:/[A-Za-z0-9_-]*)*)", "0"),
    "regex": Format(r"\^?(?:(?:[A-Za-z0-9_ -]|\\[dws.]|\[[a-z]+\]|\.)[*+?]?)*\$?", ""),
    "base64": _base64("+/"),
    "base64url": _base64("_-"),
    "fraction": Format("-?[0-9]{1,9}(?:/[1-9][0-9]{0,8})?", "0"),
    "complex": Format(r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?(?:[+-][0-9]{1,9}(?:\.[0-9]{1,9})?j)?", "0"),
    "path": _PATH,
    "file-path": _PATH,
    "directory-path": Format(rf"/|\.|{_PATH.pattern}", "/"),
}
"""The formats by name. All others are annotations: every string has them."""

REPLACED_PATTERNS = {
    r"^\s*(\d*\.?\d+)\s*(\w+)?": Format(r"[0-9]{1,9}(?:\.[0-9]{1,3})? ?(?:[KMGTPE]i?)?B", "0B"),  # pydantic's ByteSize
}
"""Patterns that pydantic emits and that match values it rejects."""
