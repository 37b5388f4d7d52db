"""Strict JSON: what reads, what does not, and what reads but canonicalises two ways."""

from __future__ import annotations

from collections.abc import Iterator

from tests.vectors.world import Vector, plain_vector

UNREADABLE_TEXT = {
    "empty": ("No bytes.", ""),
    "space-only": ("White space only.", " \n"),
    "two-values": ("Two values.", "1 2"),
    "trailing-comma": ("A trailing comma in a list.", "[1,]"),
    "trailing-comma-object": ("A trailing comma in an object.", '{"a":1,}'),
    "no-comma": ("A comma is missing.", "[1 2]"),
    "no-colon": ("A colon is missing.", '{"a" 1}'),
    "name-unquoted": ("A name without quotes.", "{a:1}"),
    "name-number": ("A number for a name.", "{1:1}"),
    "single-quotes": ("Single quotes.", "['a']"),
    "comment": ("A comment.", "[1] // one"),
    "not-closed": ("A list is not closed.", "[1"),
    "closed-wrong": ("A list is closed by a brace.", "[1}"),
    "text-not-closed": ("A text is not closed.", '"a'),
    "escape-unknown": ("An unknown escape.", '"\\x41"'),
    "escape-short": ("A short escape.", '"\\u12"'),
    "escape-sign": ("An escape with a sign.", '"\\u+123"'),
    "escape-at-end": ("A backslash at the end.", '"\\'),
    "control-character": ("A line break inside a text.", '"a\nb"'),
    "zero-byte": ("A zero byte inside a text.", '"a\0b"'),
    "vertical-tab": ("A vertical tab is no JSON space.", "\v1"),
    "no-break-space": ("A no-break space is no JSON space.", "\u00a01"),
    "leading-zero": ("A leading zero.", "01"),
    "plus": ("A plus sign.", "+1"),
    "bare-fraction": ("A fraction without its zero.", ".5"),
    "bare-point": ("A point without a fraction.", "1."),
    "bare-exponent": ("An exponent without digits.", "1e"),
    "minus-only": ("A minus sign alone.", "-"),
    "hexadecimal": ("A hexadecimal number.", "0x10"),
    "other-digits": ("Digits of another script.", "\uff11"),
    "underscore": ("Digits with an underscore.", "1_000"),
    "nan": ("NaN.", "[NaN]"),
    "infinity": ("Infinity.", "[Infinity]"),
    "minus-infinity": ("-Infinity.", "[-Infinity]"),
    "word-case": ("True for true.", "True"),
    "word-long": ("A word that starts like true.", "truer"),
    "byte-order-mark": ("A byte order mark.", "\ufeff1"),
    "name-twice": ("A name twice.", '{"a":1,"a":1}'),
    "name-twice-deep": ("A name twice, deep inside.", '[[{"b":{"a":1,"c":2,"a":3}}]]'),
    "name-twice-escaped": ("A name twice, once with an escape.", '{"a":1,"\\u0061":2}'),
    "proto-twice": ("__proto__ twice.", '{"__proto__":1,"__proto__":2}'),
    "depth-65": ("65 levels.", "[" * 65 + "]" * 65),
    "depth-65-after-backslash": (
        "65 levels after a text that ends with a backslash.",
        '["\\\\",' + "[" * 64 + "]" * 65,
    ),
    "depth-65-mixed": ("65 levels of lists and objects.", '[{"a":' * 32 + "[]" + "}]" * 32),
}
UNREADABLE_BYTES = {
    "utf-8-lone-byte": ("A lone continuation byte.", b'"\x80"'),
    "utf-8-overlong": ("An overlong zero.", b'"\xc0\x80"'),
    "utf-8-surrogate": ("A surrogate in UTF-8.", b'"\xed\xa0\x80"'),
    "utf-8-beyond": ("Beyond U+10FFFF.", b'"\xf4\x90\x80\x80"'),
    "utf-8-cut": ("A character cut short.", b'"\xe2\x82'),
    "utf-16": ("UTF-16.", "[1]".encode("utf-16-le")),
    "latin-1": ("Latin-1.", b'"\xe9"'),
}


def _reads(slug: str, about: str, text: str, canonical: str) -> Vector:
    return plain_vector("json", slug, about, text.encode(), {"canonical": canonical})


def good() -> Iterator[Vector]:
    yield _reads(
        "good", "Members are sorted, spaces go.", '{"b": [1, true, null], "a": ""}', '{"a":"","b":[1,true,null]}'
    )
    yield _reads("minus-zero", "-0 is the integer 0.", "[-0]", "[0]")
    yield _reads(
        "safe-integers",
        "The safe integers' ends.",
        "[9007199254740991,-9007199254740991]",
        "[9007199254740991,-9007199254740991]",
    )
    yield _reads(
        "escapes",
        "Escapes have one canonical form.",
        '"\\u0041\\/\\u000a\\u0001\\u001F\\u007f"',
        '"A/\\n\\u0001\\u001f\x7f"',
    )
    yield _reads("surrogate-pair", "A pair of escapes is one character.", '"\\ud83d\\ude00"', '"😀"')
    yield _reads(
        "not-ascii", "Text outside ASCII stays as it is.", '["é","e\u0301","\u2028"]', '["é","e\u0301","\u2028"]'
    )
    yield _reads(
        "proto", "__proto__ is a name like any other.", '{"__proto__":{"x":1},"a":2}', '{"__proto__":{"x":1},"a":2}'
    )
    yield _reads(
        "index-names",
        "Names that look like numbers are sorted as text.",
        '{"10":1,"9":2,"1":3}',
        '{"1":3,"10":1,"9":2}',
    )
    yield _reads(
        "case-order", "Upper case sorts before lower case, _ between.", '{"a":1,"_":2,"B":3}', '{"B":3,"_":2,"a":1}'
    )
    yield _reads("white-space", "The four kinds of white space.", " \t\r\n[ 1 \t,\r2\n] ", "[1,2]")
    yield _reads("scalar", "One value, whatever it is.", "null", "null")
    yield _reads("depth-64", "64 levels.", "[" * 64 + "]" * 64, "[" * 64 + "]" * 64)
    inside = '["\\"' + "[{" * 70 + '"]'
    yield _reads("brackets-in-text", "Brackets inside text do not count, also after a quote.", inside, inside)
    siblings = "[" + ",".join(["[]", "{}"] * 70) + "]"
    yield _reads("many-siblings", "140 lists and objects side by side.", siblings, siblings)
    yield _reads("empty-name", "An empty name.", '{"":1}', '{"":1}')


def unreadable() -> Iterator[Vector]:
    for slug, (about, text) in UNREADABLE_TEXT.items():
        yield plain_vector("json", slug, about, text.encode(), {"malformed": "test"})
    for slug, (about, data) in UNREADABLE_BYTES.items():
        yield plain_vector("json", slug, about, data, {"malformed": "test"})


def ambiguous() -> Iterator[Vector]:
    """Valid JSON whose canonical form, or whose value, differs between implementations."""
    texts = {
        "fraction": ("A fraction.", "1.5", "document"),
        "integral-fraction": ("1.0.", "[1.0]", "document[0]"),
        "exponent": ("An exponent.", '{"a":{"b":1e3}}', "document.a.b"),
        "minus-zero-fraction": ("-0.0.", "[0,-0.0]", "document[1]"),
        "infinite-exponent": ("1E400, which is infinite in some languages.", "[1E400]", "document[0]"),
        "two-to-53": ("2^53.", '{"a":9007199254740992}', "document.a"),
        "minus-two-to-53": ("-2^53.", "[-9007199254740992]", "document[0]"),
        "forty-digits": ("An integer of forty digits.", "[" + "9" * 40 + "]", "document[0]"),
        "name-not-ascii": ("A name outside ASCII.", '{"a":{"é":1}}', "document.a"),
        "name-not-ascii-escaped": ("A name outside ASCII, by an escape.", '{"\\u00e9":1}', "document"),
        "lone-surrogate": ("Half a surrogate pair.", '["\\ud800"]', "document"),
        "lone-low-surrogate": ("The other half.", '["\\udc00x"]', "document"),
        "surrogates-reversed": ("The halves in the wrong order.", '["\\ude00\\ud83d"]', "document"),
    }
    for slug, (about, text, field) in texts.items():
        yield plain_vector("json", slug, about, text.encode(), {"malformed": field})
