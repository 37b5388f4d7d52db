"""True credentials of every form that is looked for, made at random: none of them opens anything."""

from __future__ import annotations

import base64
import json
import random
import re
import string
import zlib

_ALPHABETS = {
    "A": string.ascii_letters + string.digits,
    "W": string.ascii_letters + string.digits + "-_",
    "B": string.ascii_letters + string.digits + "+/",
    "L": string.ascii_letters,
    "U": string.ascii_uppercase + string.digits,
    "a": string.ascii_lowercase + string.digits,
    "h": "0123456789abcdef",
    "d": "0123456789",
    "2": string.ascii_uppercase + "234567",
    "b": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
}
# By kind: `{A36}` are 36 characters of the alphabet A; `{crc}` is the checksum of the 30 before it.
FORMS: dict[str, tuple[str, ...]] = {
    "saferouter-api-key": ("sk-router-{W43}", "sk-sr-{W43}"),
    "anthropic-api-key": ("sk-ant-api03-{W93}AA", "sk-ant-admin01-{W93}AA", "sk-ant-oat01-{W93}AA"),
    "openai-api-key": (
        "sk-proj-{W74}T3BlbkFJ{W74}",
        "sk-svcacct-{W74}T3BlbkFJ{W74}",
        "sk-admin-{W58}T3BlbkFJ{W58}",
        "sk-{A20}T3BlbkFJ{A20}",
        "sk-proj-{A20}T3BlbkFJ{A20}",
    ),
    "openai-session-key": ("sess-{A40}",),
    "openrouter-api-key": ("sk-or-v1-{h64}",),
    "api-key": ("sk-{h32}", "sk-{A48}"),
    "groq-api-key": ("gsk_{A52}",),
    "xai-api-key": ("xai-{A80}",),
    "perplexity-api-key": ("pplx-{A48}",),
    "replicate-api-token": ("r8_{A37}",),
    "huggingface-token": ("hf_{L34}", "api_org_{L34}"),
    "cerebras-api-key": ("csk-{a48}",),
    "nvidia-api-key": ("nvapi-{W64}",),
    "langsmith-api-key": ("lsv2_pt_{h32}_{h10}", "lsv2_sk_{h32}_{h10}"),
    "langfuse-secret-key": ("sk-lf-{h8}-{h4}-{h4}-{h4}-{h12}",),
    "tavily-api-key": ("tvly-{A32}", "tvly-dev-{A32}"),
    "pinecone-api-key": ("pcsk_{A6}_{A63}",),
    "elevenlabs-api-key": ("sk_{h48}",),
    "bedrock-api-key": ("ABSK{B128}",),
    "aws-access-key-id": ("AKIA{216}", "ASIA{216}"),
    "google-api-key": ("AIza{W35}",),
    "google-oauth-secret": ("GOCSPX-{W28}",),
    "google-oauth-token": ("ya29.{W120}",),
    "google-refresh-token": ("1//0{W90}",),
    "azure-client-secret": ("{A3}8Q~{A34}",),
    "azure-api-key": ("{A52}JQQJ9{A27}",),
    "digitalocean-token": ("dop_v1_{h64}", "doo_v1_{h64}", "dor_v1_{h64}"),
    "alibaba-access-key-id": ("LTAI{A20}",),
    "databricks-token": ("dapi{h32}", "dapi{h32}-2"),
    "heroku-api-key": ("HRKU-AA{W58}",),
    "planetscale-token": ("pscale_tkn_{W43}", "pscale_pw_{W43}"),
    "supabase-token": ("sbp_{h40}",),
    "supabase-secret-key": ("sb_secret_{W31}",),
    "netlify-token": ("nfp_{A36}",),
    "pulumi-token": ("pul-{h40}",),
    "vault-token": ("hvs.{W91}", "hvb.{W140}"),
    "terraform-token": ("{A14}.atlasv1.{W67}",),
    "doppler-token": ("dp.pt.{A43}", "dp.st.dev.{A43}"),
    "tailscale-key": ("tskey-auth-{A12}CNTRL-{A32}",),
    "dynatrace-token": ("dt0c01.{U24}.{U64}",),
    "grafana-token": ("glsa_{A32}_{h8}",),
    "newrelic-key": ("NRAK-{U27}",),
    "sentry-token": ("sntryu_{h64}", "sntrys_eyJ{A120}"),
    "github-token": (
        *(f"gh{kind}_{{A30}}{{crc}}" for kind in "pousr"),
        "ghr_{A76}",
        "github_pat_{A22}_{A59}",
    ),
    "gitlab-token": ("glpat-{W20}", "glptt-{h40}", "glrt-{W20}", "glpat-{W27}.01.{a9}"),
    "npm-token": ("npm_{A30}{crc}",),
    "pypi-token": ("pypi-AgEIcHlwaS5vcmc{W150}",),
    "rubygems-key": ("rubygems_{h48}",),
    "docker-token": ("dckr_pat_{W27}",),
    "atlassian-token": ("ATATT3xFfGF0{W170}={h8}",),
    "postman-key": ("PMAK-{h24}-{h34}",),
    "linear-api-key": ("lin_api_{A40}",),
    "notion-token": ("ntn_{A46}",),
    "figma-token": ("figd_{W40}",),
    "slack-token": (
        "xoxb-{d12}-{d13}-{A24}",
        "xoxp-{d12}-{d12}-{d13}-{h32}",
        "xoxe.xoxp-1-{A146}",
        "xapp-1-A0{U9}-{d13}-{h64}",
    ),
    "stripe-key": ("sk_live_{A24}", "rk_live_{A99}", "sk_test_{A99}"),
    "stripe-webhook-secret": ("whsec_{A32}",),
    "square-token": ("sq0atp-{W22}", "sq0csp-{W43}"),
    "shopify-token": ("shpat_{h32}", "shpss_{h32}"),
    "sendgrid-api-key": ("SG.{W22}.{W43}",),
    "brevo-api-key": ("xkeysib-{h64}-{A16}",),
    "mailgun-api-key": ("key-{h32}",),
    "twilio-api-key": ("SK{h32}",),
    "age-secret-key": ("AGE-SECRET-KEY-1{b58}",),
}
_HOLE = re.compile(r"\{(crc|[A-Za-z2])(\d*)\}")


def new_secret(form: str, chance: random.Random) -> str:
    """A credential of this form. It ends in a letter or a digit, as half of the real ones do."""
    made = ""
    for part in re.split(r"(\{[^}]*\})", form):
        hole = _HOLE.fullmatch(part)
        if hole is None:
            made += part
        elif hole[1] == "crc":
            made += _checksum(made[-30:])
        else:
            made += "".join(chance.choices(_ALPHABETS[hole[1]], k=int(hole[2])))
    return made[:-1] + "7" if made[-1] in "-_" else made


def new_told(chance: random.Random) -> list[tuple[str, str, str]]:
    """What is known by the words around it: kind, a text, and what of it is secret."""
    aws, azure = new_secret("{B40}", chance), new_secret("{B86}", chance) + "=="
    session, user = "IQoJb3JpZ2luX2Vj" + new_secret("{B300}", chance), new_secret("AKIA{216}", chance)
    user_id = base64.b64encode(new_secret("{d18}", chance).encode()).decode()
    bot, hooked = new_secret("{W6}.{W38}", chance), new_secret("{W68}", chance)
    hook = new_secret("T{U10}/B{U10}/{A24}", chance)
    password, shared = new_secret("{A14}", chance), new_secret("{B43}", chance) + "="
    telegram = new_secret("AA{W33}", chance)
    return [
        ("aws-secret-access-key", f"aws_secret_access_key = {aws}\n", aws),
        ("aws-secret-access-key", f'"SecretAccessKey": "{aws}"', aws),
        ("aws-secret-access-key", f"export AWS_SECRET_ACCESS_KEY='{aws}'", aws),
        ("aws-secret-access-key", f"Secret access key: {aws}.", aws),
        ("aws-secret-access-key", f"deploy,{user},{aws}\r\n", aws),
        ("aws-session-token", f"AWS_SESSION_TOKEN={session}", session),
        ("azure-storage-key", f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={azure};", azure),
        ("azure-access-key", f"Endpoint=sb://a/;SharedAccessKeyName=Root;SharedAccessKey={shared}", shared),
        ("discord-bot-token", f"DISCORD_TOKEN=M{user_id[1:]}.{bot}", bot),
        ("telegram-bot-token", f"1234567890:{telegram}", telegram),
        ("discord-webhook", f"https://discord.com/api/webhooks/{'1' * 19}/{hooked}", hooked),
        ("slack-webhook", f"https://hooks.slack.com/services/{hook}", hook),
        ("url-password", f"postgres://app:{password}@db.internal:5432/app", password),
        ("url-password", f"mongodb+srv://app:{password}@cluster0.mongodb.net", password),
        ("url-password", f"redis://:{password}@cache:6379/0", password),
        ("url-password", f"git clone https://ci:{password}@git.internal/a.git", password),
        ("json-web-token", (token := new_token(chance)), token),
        ("private-key", (key := new_private_key(chance)), key),
        ("private-key", (key := new_private_key(chance, "OPENSSH ")), key),
        ("private-key", (key := new_private_key(chance, "PGP ", " BLOCK")), key),
    ]


def new_token(chance: random.Random) -> str:
    """A JSON web token, HMAC-SHA256."""
    claims = {"sub": new_secret("{d10}", chance), "iat": 1767225600}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)] + [chance.randbytes(32)]
    return ".".join([base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts])


def new_private_key(chance: random.Random, kind: str = "", end: str = "") -> str:
    """A private key in its armour."""
    body = base64.encodebytes(chance.randbytes(420)).decode()
    return f"-----BEGIN {kind}PRIVATE KEY{end}-----\n{body}-----END {kind}PRIVATE KEY{end}-----"


def _checksum(drawn: str) -> str:
    number, digits = zlib.crc32(drawn.encode()), ""
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    for _ in range(6):
        digits = alphabet[number % 62] + digits
        number //= 62
    return digits
