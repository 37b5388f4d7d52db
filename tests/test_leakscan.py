"""The leak scan finds true credentials wherever a request can hold them, and takes nothing else for one."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import uuid
from pathlib import Path
from typing import Any

import pytest

from gateway.languages import SERVICES
from gateway.leakscan.plain import MAX_ESCAPES
from gateway.leakscan.rules import PRIVATE_KEY, RULES
from gateway.leakscan.scan import Scan, scan
from gateway.leakscan.suspicion import suspected
from tests.worlds.credentials import FORMS, new_private_key, new_secret, new_told

ROOT = Path(__file__).resolve().parent.parent
SECRETS = [
    (kind, new_secret(form, random.Random(f"{form} {number}")))
    for kind, forms in FORMS.items()
    for form in forms
    for number in range(5)
]
TOLD = [row for number in range(5) for row in new_told(random.Random(number))]
SECRET = new_secret("sk-proj-{W74}T3BlbkFJ{W74}", random.Random(1))
MARK = "[redacted:openai-api-key]"
AROUND = (
    *("{}", "key: {}", "a={};", "`{}`", "\n{}\n", "see\t{}.", "na\u00efve {}!", "\u5bc6\u94a5\uff1a{}\u3002"),
    *("https://h/p?k={}&a=1", '{{"k":"{}"}}', "a%3D{}%20b", "Bearer {}", "<{}>", "'{}',"),
)


def kinds(found: Scan) -> dict[str, int]:
    return {finding.kind: finding.count for finding in found.findings}


def said(text: str) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()


def heard(redacted: bytes) -> str:
    content = json.loads(redacted)["messages"][0]["content"]
    assert isinstance(content, str)
    return content


def test_every_form_has_an_example_and_every_example_a_form() -> None:
    """R68: the providers that it names, and many more."""
    assert {rule.kind for rule in RULES} | {PRIVATE_KEY} == {kind for kind, _ in SECRETS} | {row[0] for row in TOLD}


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "plain"])
@pytest.mark.parametrize("around", AROUND, ids=ascii)
def test_a_credential_is_taken_out_and_nothing_else(around: str, escaped: bool) -> None:
    """R69: in place, and every other byte stays."""
    for kind, secret in SECRETS:
        body = json.dumps({"messages": [{"content": around.format(secret)}]}, ensure_ascii=escaped).encode()
        found = scan(body)
        assert found.redacted == body.replace(secret.encode(), f"[redacted:{kind}]".encode()), (kind, secret)
        assert kinds(found) == {kind: 1}
        assert found.findings[0].places == ("messages[0].content",)


def test_what_the_words_around_it_tell_is_found() -> None:
    for kind, text, secret in TOLD:
        for shown in (text, f"see\n{text}\nthere", json.dumps({"config": text}), text.replace("\n", "\r\n")):
            found = scan(said(shown))
            assert kind in kinds(found), (kind, text)
            assert secret.splitlines()[len(secret.splitlines()) // 2] not in heard(found.redacted), (kind, text)


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_a_private_key_goes_however_its_lines_are_written(kind: str) -> None:
    key = new_private_key(random.Random(3), kind)
    lines = key.split("\n")
    source = " +\n".join(json.dumps(line + "\n") for line in lines)
    written = [
        key,
        key.replace("\n", "\r\n"),
        json.dumps(key),
        json.dumps(json.dumps(key)),
        source,
        "> " + "\n> ".join(lines),
    ]
    for text in (*written, key[: key.index("-----END")], key + "\n" + key):
        found = scan(said(f"before {text} after"))
        left = heard(found.redacted)
        assert not [line for line in lines[1:-1] if line in left], text
        assert left.startswith("before ") and left.endswith("after")
        assert set(kinds(found)) == {PRIVATE_KEY}


@pytest.mark.parametrize(
    "spelled",
    ["\\u0073k-proj-", "sk\\u002dproj-", "\\u0073\\u006b\\u002D\\u0070\\u0072\\u006F\\u006A-", "sk-\\u0070roj-"],
)
def test_escapes_do_not_hide_a_credential(spelled: str) -> None:
    body = b'{"messages":[{"content":"it is %b."}],"a":"\\u00e9\\/"}'
    hidden = SECRET.replace("sk-proj-", spelled)
    assert scan(body % hidden.encode()).redacted == body % MARK.encode()
    nested = json.dumps(hidden)[1:-1].encode()  # once more, as in a tool call's arguments
    assert scan(body % nested).redacted == body % MARK.encode()


def test_escaped_solidi_do_not_hide_a_password() -> None:
    body = b'{"messages":[{"content":"postgres:\\/\\/app:wy7Vq9xN2p@db\\/app"}]}'
    assert scan(body).redacted == body.replace(b"wy7Vq9xN2p", b"[redacted:url-password]")


def test_what_remains_is_json_whatever_stands_before_a_credential() -> None:
    """A mark takes no part of an escape with it, also where that ends in the letter with which a token begins."""
    chance = random.Random(5)
    starts = [
        "\\n",
        "\\\\",
        "\\\\n",
        "\\u00e9",
        "\\u1234",
        '\\"',
        "\\/",
        "\\t\\t",
        "\\\\\\n",
        "%0A",
        "\\u000a",
        "\\\\u0020",
    ]
    for kind, secret in SECRETS:
        for start in (*starts, *("".join(chance.choices(starts, k=3)) for _ in range(5))):
            found = scan(f'{{"messages":[{{"content":"{start}{secret}{start}"}}]}}'.encode())
            assert kind in kinds(found), (start, secret)
            assert secret not in heard(found.redacted)


SURFACES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "SECRET"},
            {"role": "developer", "content": [{"type": "text", "text": "SECRET"}]},
            {
                "role": "user",
                "name": "SECRET",
                "content": [
                    {"type": "text", "text": "a SECRET"},
                    {"type": "image_url", "image_url": {"url": "https://h/i.png?k=SECRET", "alt": "SECRET"}},
                    {"type": "file", "file": {"filename": "SECRET", "file_data": "data:text/plain;base64,QUJD"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "SECRET",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"key":"SECRET"}'}},
                    {"id": "d", "type": "function", "function": {"name": "f", "arguments": '{"k":"{\\"SECRET\\":1}"}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "TOKEN=SECRET\nOTHER=1\n"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "use SECRET",
                    "parameters": {"properties": {"SECRET": {"enum": ["SECRET"], "default": "SECRET"}}},
                },
            }
        ],
        "metadata": {"k": "SECRET"},
        "user": "SECRET",
        "stop": ["SECRET"],
        "x_unknown": {"deep": [[{"er": "SECRET"}]]},
    },
    "/v1/completions": {"model": "m", "prompt": ["SECRET", "b"], "suffix": "SECRET", "user": "SECRET"},
    "/v1/embeddings": {"model": "m", "input": ["a", "SECRET"], "user": "SECRET"},
    "/v1/responses": {
        "model": "m",
        "instructions": "SECRET",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "SECRET"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"k":"SECRET"}'},
            {"type": "function_call_output", "call_id": "c", "output": "SECRET"},
        ],
        "tools": [{"type": "mcp", "server_label": "s", "headers": {"authorization": "Bearer SECRET"}}],
        "metadata": {"k": "SECRET"},
        "safety_identifier": "SECRET",
        "store": False,
    },
    "/v1/messages": {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "SECRET", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "SECRET"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": ["SECRET"]}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x SECRET"}]},
                    {"type": "document", "source": {"type": "text", "data": "SECRET"}, "title": "SECRET"},
                ],
            },
        ],
        "tools": [{"name": "f", "description": "SECRET", "input_schema": {"type": "object"}}],
        "metadata": {"user_id": "SECRET"},
    },
    "/v1/messages/count_tokens": {"model": "m", "messages": [{"role": "user", "content": "SECRET"}]},
}  # fmt: skip


@pytest.mark.parametrize("path", SURFACES)
def test_each_place_of_each_surface_is_looked_at(path: str) -> None:
    """R68: system, tool results, arguments, schemas and their keys, addresses of images, and what nobody knows."""
    body = json.dumps(SURFACES[path], indent=1).encode()
    found = scan(body.replace(b"SECRET", SECRET.encode()))
    assert found.redacted == body.replace(b"SECRET", MARK.encode())
    assert kinds(found) == {"openai-api-key": body.count(b"SECRET")}


def test_every_surface_is_tried() -> None:
    assert set(SURFACES) == set(SERVICES)


def test_places_are_told_in_words_of_the_protocol_alone() -> None:
    body = {"messages": [{"content": [{"text": "a"}, {"text": SECRET}]}], "my_project": {"x": [SECRET]}}
    schema = {"tools": [{"function": {"parameters": {"properties": {SECRET: 1}}}}]}
    found = scan(json.dumps(body | schema).encode())
    (finding,) = found.findings
    assert finding.places == (
        "messages[0].content[1].text",
        "*.*[0]",
        "tools[0].function.parameters.properties.*",
    )
    assert scan(SECRET.encode()).findings[0].places == ("body",), "what is no JSON has no paths"


def test_the_callers_own_key_is_found_whatever_its_form() -> None:
    own = "an-old-key-without-any-form"
    found = scan(said(f"I use {own}, and {own}."), own)
    assert heard(found.redacted) == "I use [redacted:saferouter-api-key], and [redacted:saferouter-api-key]."
    assert not scan(said("a test of tests"), "test").findings, "a short one may be a word"


def test_two_findings_that_touch_become_one() -> None:
    token = new_secret("ghp_{A30}{crc}", random.Random(2))
    found = scan(said(f"git clone https://me:{token}@github.com/a/b"))
    assert heard(found.redacted) == "git clone https://me:[redacted:github-token]@github.com/a/b"


def lookalikes(chance: random.Random) -> list[str]:
    """What looks like a credential, and is none."""
    raw, hexes = chance.randbytes(600), chance.randbytes(20).hex()
    return [
        *(hashlib.new(name, raw).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")),
        str(uuid.UUID(bytes=raw[:16])),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        f"sha512-{base64.b64encode(hashlib.sha512(raw).digest()).decode()}",
        f"index {hexes[:7]}..{hexes[7:14]} 100644\n--- a/{hexes}.py\n+++ b/{hexes}.py",
        f"sk-{'x' * 48}", "sk-proj-your-api-key-goes-here-please-123", "sk-ant-api03-xxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        f"task-{hexes}", f"risk-{hexes}{hexes}", f"desk-proj-{hexes}", f"ghp_{hexes[:36]}", "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", f"secret_key = {hexes}",
        "postgres://user:password@localhost/db", "redis://:${REDIS_PASSWORD}@cache", "https://user:<password>@host/",
        "http://localhost:8080/a@b", "git@github.com:a/b.git",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(raw).decode()}-----END PUBLIC KEY-----",
        f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(raw).decode()}-----END CERTIFICATE-----",
        f"toolu_01{hexes}", f"call_{hexes}", f"resp_{hexes}", f"msg_{hexes}", f"chatcmpl-{hexes}",
        f"https://b.s3.amazonaws.com/i?X-Amz-Credential=AKIA{'Q7' * 3}ZXCVBNM234%2F2026&X-Amz-Signature={hexes}{hexes}",
        f"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{hexes}",
        f"xoxb-{'1' * 12}-{'1' * 12}-{'a' * 24}", f"npm_config_{hexes}", "hf_hub_download_with_a_long_function_name_x",
    ]  # fmt: skip


def test_look_alikes_are_left_alone() -> None:
    """Hashes, UUIDs, base64, ids of answers, diffs, examples of manuals: 60 of each, none is taken."""
    alarms = [
        (text, kinds(found))
        for number in range(60)
        for text in lookalikes(random.Random(number))
        if (found := scan(said(f"see {text} there"))).findings
    ]
    assert not alarms, alarms[:5]


def test_one_file_in_a_hundred_of_real_code_at_most_is_taken_for_a_leak() -> None:
    """Sources, minified pages, data and locks of this repository and of the libraries that it runs on."""
    rooms = [ROOT / "gateway", ROOT / "tee", ROOT / "verifier-web", ROOT / "tests", Path(json.__file__).parents[1]]
    files = [path for room in rooms for path in sorted(room.rglob("*")) if path.suffix in SUFFIXES and path.is_file()]
    files += sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("*lock*"))
    chosen = random.Random(0).sample(files, min(len(files), 600))
    alarms = []
    for path in chosen:
        text = path.read_bytes()[:200_000].decode("utf-8", "replace")
        if found := scan(said(text)).findings:
            alarms.append((path.name, found))
    assert len(chosen) > 500
    assert len(alarms) < len(chosen) / 100, alarms


SUFFIXES = {".py", ".js", ".json", ".md", ".txt", ".toml", ".html", ".css", ".c", ".h", ".pem", ".lock", ".diff"}


def test_a_picture_is_neither_read_nor_changed() -> None:
    picture = base64.b64encode(random.Random(4).randbytes(2_000_000))
    for body in (b'{"url":"data:image/png;base64,%b"}' % picture, b'{"data":"%b"}' % picture.replace(b"/", b"\\/")):
        assert scan(body).redacted == body
    assert not suspected(b'"data":"%b"' % picture)


@pytest.mark.parametrize(
    "piece",
    [
        *("sk-proj-", "sk-", "://a:", "-----BEGIN PRIVATE KEY-----", "eyJ", "eyJhbGciOiJI.", "AKIA", "secret_key: "),
        *("hvs.", "xoxb-", "\\u0073", "\\\\", "\\/", "ghp_", "glpat-", "AKIA" + "A2" * 8 + " ", "discord a."),
        *(":AA", "a@", "://:::", "Q~", "[[", '","', "-eyJ", "_eyJ.", '\\"', "tskey-a-", "xapp-1-A", "\\", "\\n"),
    ],
)
def test_no_text_is_read_over_and_over(piece: str) -> None:
    """Twice the text takes some twice the time, whatever it is: a square would take minutes here."""
    text = piece * (1_000_000 // len(piece))
    for body in (f'{{"a":"{text} {SECRET}"}}', f'{{"a":"{SECRET} \\/{text}'):
        assert MARK.encode() in scan(body.encode()).redacted


def test_beyond_the_bound_on_escapes_a_text_is_read_as_it_is() -> None:
    body = b'{"a":"%b %b"}' % (b"\\/" * (MAX_ESCAPES + 1), SECRET.encode())
    assert SECRET.encode() not in scan(body).redacted
