"""The forms of credentials that are found: facts that their issuers, and public rule sets, tell."""

from __future__ import annotations

from gateway.leakscan.likeness import (
    has_checksum,
    is_no_digest,
    is_password,
    is_random,
    is_signed_token,
    is_varied,
)
from gateway.leakscan.rule import Rule, new_context, new_token

_W = r"[0-9A-Za-z_-]"  # the alphabet of base64url
_A = r"[0-9A-Za-z]"
_GAP = r"(?:\\++[\"'nrt]|[\s:=>,|`*\"']){1,24}+"  # between a name and its value, in any language, also inside JSON
_VALUE_END = r"(?![0-9A-Za-z/+=])"

OURS = "saferouter-api-key"
PRIVATE_KEY = "private-key"

_MODEL_PROVIDERS = (
    new_token(OURS, "sk-", rf"(?:router|sr)-{_W}{{20,}}+", keywords="sk-router- sk-sr-"),
    new_token("anthropic-api-key", "sk-ant-", rf"[a-z]{{3,5}}\d\d-{_W}{{24,}}+"),
    new_token("openai-api-key", "sk-", rf"(?:proj|svcacct|admin|None)-{_W}{{20,}}+", keywords="sk-"),
    new_token("openai-api-key", "sk-", rf"{_A}{{20}}T3BlbkFJ{_A}{{20}}", keywords="T3BlbkFJ"),
    new_token("openai-session-key", "sess-", rf"{_A}{{40}}"),
    new_token("openrouter-api-key", "sk-or-", r"v1-[0-9a-f]{64}"),
    new_token("api-key", "sk-", rf"{_A}{{32,64}}+", keywords="sk-"),  # DeepSeek, Moonshot, Qwen, LiteLLM and others
    new_token("groq-api-key", "gsk_", rf"{_A}{{40,}}+"),
    new_token("xai-api-key", "xai-", rf"{_A}{{64,}}+"),
    new_token("perplexity-api-key", "pplx-", rf"{_A}{{40,}}+"),
    new_token("replicate-api-token", "r8_", rf"{_A}{{37}}"),
    new_token("huggingface-token", "hf_", r"[A-Za-z]{34}"),
    new_token("huggingface-token", "api_org_", r"[A-Za-z]{34}"),
    new_token("cerebras-api-key", "csk-", r"[0-9a-z]{48}"),
    new_token("nvidia-api-key", "nvapi-", rf"{_W}{{60,}}+"),
    new_token("langsmith-api-key", "lsv2_", r"(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    new_token("langfuse-secret-key", "sk-lf-", r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    new_token("tavily-api-key", "tvly-", rf"(?:dev-|prod-)?{_A}{{32,}}+"),
    new_token("pinecone-api-key", "pcsk_", rf"{_A}{{5,6}}_{_A}{{60,}}+"),
    new_token("elevenlabs-api-key", "sk_", r"[0-9a-f]{48}"),
    new_token("bedrock-api-key", "ABSK", r"[0-9A-Za-z+/]{109,}+={0,2}"),
    new_token("bedrock-api-key", "bedrock-api-key-", r"[0-9A-Za-z+/]{80,}+={0,2}", longest=4096),
)
_CLOUDS = (
    *(
        # An address that was signed for whom it is given to names the id, which is no secret there.
        new_token("aws-access-key-id", prefix, rf"(?<!X-Amz-Credential={prefix})[A-Z2-7]{{16}}", is_varied)
        for prefix in ("AKIA", "ASIA", "ABIA", "ACCA")
    ),
    new_context(
        "aws-secret-access-key",
        "ecret ECRET",
        rf"(?i:secret[_ -]?(?:access[_ -]?)?key){_GAP}([0-9A-Za-z/+]{{40}}){_VALUE_END}",
        is_no_digest,
    ),
    new_context(  # a line of a credentials file or of a CSV: the id, and its secret close behind
        "aws-secret-access-key",
        "AKIA ASIA",
        rf"A[KS]IA[A-Z2-7]{{16}}[^0-9A-Za-z/+].{{0,80}}?(?<![0-9A-Za-z/+=])([0-9A-Za-z/+]{{40}}){_VALUE_END}",
        is_no_digest,
    ),
    new_context(
        "aws-session-token",
        "ession ESSION",
        rf"(?i:session[_ -]?token){_GAP}([0-9A-Za-z/+]{{100,}}+={{0,2}}){_VALUE_END}",
        is_random,
    ),
    new_token("google-api-key", "AIza", rf"{_W}{{35}}(?!{_W})"),
    new_token("google-oauth-secret", "GOCSPX-", rf"{_W}{{28}}(?!{_W})"),
    new_token("google-oauth-token", r"ya29\.", rf"{_W}{{30,}}+", longest=2048),
    new_token("google-refresh-token", "1//0", rf"{_W}{{40,}}+"),
    new_context("azure-storage-key", "ccountKey=", r"AccountKey=([0-9A-Za-z+/]{86}==)", is_random, loose=False),
    new_context("azure-access-key", "ccessKey=", r"SharedAccessKey=([0-9A-Za-z+/]{43}=)", is_random),
    new_token("azure-client-secret", "Q~", r"[0-9A-Za-z_~.-]{31,34}+", before=(r"[0-9A-Za-z_~.-]{3}\d", 4)),
    new_token("azure-api-key", "JQQJ9", rf"{_A}{{27}}", before=(r"[0-9A-Za-z]{52}", 52)),
    *(new_token("digitalocean-token", f"do{kind}_v1_", r"[0-9a-f]{64}") for kind in "opr"),
    new_token("alibaba-access-key-id", "LTAI", rf"{_A}{{20}}"),
    new_token("databricks-token", "dapi", r"[0-9a-f]{32}(?:-\d{1,2})?"),
    new_token("heroku-api-key", "HRKU-", rf"{_W}{{50,}}+"),
    new_token("planetscale-token", "pscale_", r"(?:tkn|pw|oauth)_[0-9A-Za-z_-]{32,}+"),
    new_token("supabase-token", "sbp_", r"[0-9a-f]{40}"),
    new_token("supabase-secret-key", "sb_secret_", rf"{_W}{{30,}}+"),
    new_token("netlify-token", "nfp_", rf"{_A}{{36}}"),
    new_token("pulumi-token", "pul-", r"[0-9a-f]{40}"),
    new_token("vault-token", r"hv[sbr]\.", rf"{_W}{{24,}}+", keywords="hvs. hvb. hvr."),
    new_token("terraform-token", r"\.atlasv1\.", rf"{_W}{{60,}}+", before=(r"[0-9A-Za-z]{14}", 14)),
    new_token("doppler-token", r"dp\.", rf"(?:pt|st|ct|sa|scim|audit)\.(?:[0-9a-z_-]{{2,35}}\.)?{_A}{{40,44}}"),
    new_token("tailscale-key", "tskey-", rf"[a-z]+-{_A}+-{_A}{{20,}}+"),
    new_token("dynatrace-token", r"dt0c01\.", r"[0-9A-Z]{24}\.[0-9A-Z]{64}"),
    new_token("grafana-token", "glsa_", rf"{_A}{{32}}_[0-9A-Fa-f]{{8}}"),
    new_token("newrelic-key", "NRAK-", r"[0-9A-Z]{27}"),
    new_token("sentry-token", "sntryu_", r"[0-9a-f]{64}"),
    new_token("sentry-token", "sntrys_", r"eyJ[0-9A-Za-z+/=_-]{80,}+"),
)
_FORGES = (
    new_token("github-token", "gh[pousr]_", rf"{_A}{{36,}}+", has_checksum, keywords="ghp_ gho_ ghu_ ghs_ ghr_"),
    new_token("github-token", "github_pat_", rf"{_A}{{22}}_{_A}{{59}}"),
    *(
        new_token("gitlab-token", f"gl{kind}-", rf"{_W}{{20,}}+(?:\.[0-9a-z]{{2}}\.[0-9a-z]{{9}})?")
        for kind in ("pat", "dt", "rt", "ptt", "cbt", "ft", "soat", "imt", "oas", "agent")
    ),
    new_token("npm-token", "npm_", rf"{_A}{{36}}", has_checksum),
    new_token("pypi-token", "pypi-AgE", rf"{_W}{{60,}}+", longest=2048),
    new_token("rubygems-key", "rubygems_", r"[0-9a-f]{48}"),
    new_token("docker-token", r"dckr_[po]at_", rf"{_W}{{27,}}+", keywords="dckr_pat_ dckr_oat_"),
    new_token("atlassian-token", "ATATT3", r"[0-9A-Za-z_=-]{170,}+"),
    new_token("postman-key", "PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    new_token("linear-api-key", "lin_api_", rf"{_A}{{40}}"),
    new_token("notion-token", "ntn_", rf"{_A}{{40,}}+"),
    new_token("figma-token", "figd_", rf"{_W}{{36,}}+"),
)
_SERVICES = (
    *(new_token("slack-token", f"xox{kind}-", r"[0-9A-Za-z-]{20,}+") for kind in "abeoprs"),
    new_token("slack-token", r"xoxe\.xox[bp]-", r"[0-9A-Za-z-]{20,}+", keywords="xoxe."),
    new_token("slack-token", "xapp-", r"\d-[0-9A-Z]{9,}+-\d{10,}+-[0-9a-f]{64}"),
    new_context(
        "slack-webhook",
        "slack.com/",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([0-9A-Za-z+/]{40,80}+)",
        is_random,
    ),
    *(
        new_token("stripe-key", prefix, rf"(?:live|test|prod)_{_A}{{16,}}+", keywords=f"{prefix}live_ {prefix}test_")
        for prefix in ("sk_", "rk_")
    ),
    new_token("stripe-webhook-secret", "whsec_", r"[0-9A-Za-z+/]{32,}+={0,2}"),
    new_token("square-token", "sq0", rf"(?:atp|csp)-{_W}{{22,43}}+", keywords="sq0atp- sq0csp-"),
    *(new_token("shopify-token", f"shp{kind}_", r"[0-9a-fA-F]{32}") for kind in ("at", "ca", "pa", "ss")),
    new_token("sendgrid-api-key", r"SG\.", rf"{_W}{{22}}\.{_W}{{43}}(?!{_W})"),
    new_token("brevo-api-key", "xkeysib-", rf"[0-9a-f]{{64}}-{_A}{{16}}"),
    new_token("mailgun-api-key", "key-", r"[0-9a-f]{32}"),
    new_token("twilio-api-key", "SK", r"[0-9a-f]{32}"),
    new_context("telegram-bot-token", ":AA", rf":(AA(?<=\d{{8}}:AA){_W}{{33}})(?!{_W})", is_random),
    new_context(  # after the dot: what stands before it is the number of its user in base64
        "discord-bot-token",
        "iscord ISCORD",
        rf"\.(?:(?<=[MNO]{_W}{{23}}\.)|(?<=[MNO]{_W}{{25}}\.))({_W}{{6}}\.{_W}{{27,38}}+)(?!{_W})",
        is_random,
    ),
    new_context(
        "discord-webhook",
        "/webhooks/",
        rf"discord(?:app)?\.com/api/webhooks/\d{{17,20}}/({_W}{{60,72}}+)",
        is_random,
    ),
)
_KEYS = (
    new_token("age-secret-key", "AGE-SECRET-KEY-1", r"[02-9AC-HJ-NP-Z]{58}", is_varied),
    new_token(  # the first of a run alone, so that none is read twice
        "json-web-token",
        "eyJ",
        rf"(?<![_-]eyJ){_W}{{12,}}+\.eyJ{_W}{{10,}}+\.{_W}{{20,}}+",
        is_signed_token,
        longest=16384,
    ),
    new_context(
        "url-password",
        "@",
        r"://[^\s:@/?#\"'<>\\]{0,64}+:([^\s@/\"'<>\\]{3,128}+)@[0-9A-Za-z\[]",
        is_password,
        loose=True,
    ),
)

RULES: tuple[Rule, ...] = (*_MODEL_PROVIDERS, *_CLOUDS, *_FORGES, *_SERVICES, *_KEYS)
"""In order: of two that find the same, the first has the word. Private keys are found by `private_keys.py`."""
