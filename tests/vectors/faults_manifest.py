"""Faults of release manifests: signatures, chain, expiry, retirement, spelling, and what they say of a build."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

from tests.vectors.certificates import NOW
from tests.vectors.documents import (
    NONCE,
    ORIGIN_URL,
    Document,
    digest_of,
    fill,
    jcs,
    quote,
    seconds,
    workload,
)
from tests.vectors.faults_nitro import BOUND, FIRMWARE, GENUINE, IMAGED, carrying, flipped, stated
from tests.vectors.faults_quote import changed, without
from tests.vectors.nitro import IMAGE
from tests.vectors.reports import MEASUREMENT
from tests.vectors.signing import ed25519_key, ed25519_public, ed25519_sign
from tests.vectors.world import GENOA, VERIFIED, Blob, Expect, Json, Vector, b64, iso, policy, rejected

IN_TOTO = "application/vnd.in-toto+json"
KEYS = ("release-1", "release-2", "release-3")
RELEASES: Document = {"keys": [ed25519_public(label) for label in KEYS], "threshold": 2}
BY_RELEASE: Document = {"releases": RELEASES}  # a policy without measurements of its own
OTHER_MEASUREMENT = "ab" * 48
SECOND, DAY = dt.timedelta(seconds=1), dt.timedelta(days=1)
# Nothing is in force: no measurement is accepted, and code.release says why.
REFUSED = rejected("code.release", missing=["code.measurement"])
# A measurement of firmware demands platform evidence, and there is none.
NO_IMAGE = rejected("code.release", missing=[GENUINE, BOUND, IMAGED])
DIFFERS = rejected("code.release")


def measured(value: str = MEASUREMENT.hex(), **changes: Json) -> Document:
    row: Document = dict.fromkeys(("machine", "vcpus", "recipe", "valid_from", "note"))
    return row | {"value": value, "platform": "qemu", "covers": "workload"} | changes


def predicate(**changes: Json) -> Document:
    build = workload()["build"]
    document: Document = {
        "version": 1,
        "release": {"name": "saferouter", "version": "0.1.0"},
        "sequence": 7,
        "expires": seconds(NOW + 30 * DAY),
        "previous": fill("manifest 6"),
        "source": {"repo_url": build["repo_url"], "repo_commit": build["repo_commit"]},
        "build": {"source_digest": build["source_digest"], "image_digest": None},
        "measurements": [measured()],
        "boot_images": [],
        "tcb_floor": {},
        "retired": [],
    }
    return document | changes


def statement(content: Document | None = None, **changes: Json) -> Document:
    digests = {"sha256": "11" * 32, "sha384": "22" * 48}
    document: Document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "disk.raw", "digest": digests}],
        "predicateType": "urn:saferouter:predicate:release:v1",
        "predicate": predicate() if content is None else content,
    }
    return document | changes


def signature(label: str, payload: bytes, kind: str = IN_TOTO) -> Document:
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    return {"keyid": ed25519_public(label), "sig": b64(bytes.fromhex(ed25519_sign(label, message)))}


def envelope(payload: Document | bytes, labels: tuple[str, ...] = KEYS[:2], **changes: Json) -> Document:
    raw = payload if isinstance(payload, bytes) else jcs(payload)
    signatures = [signature(label, raw) for label in labels]
    return {"payload": b64(raw), "payloadType": IN_TOTO, "signatures": signatures} | changes


def signed(**changes: Json) -> Document:
    """The good manifest but for these members of its predicate."""
    return envelope(statement(predicate(**changes)))


def manifest_vector(
    slug: str,
    about: str,
    manifests: list[Document] | str,
    expect: Expect = VERIFIED,
    *,
    quote_name: str = "quote-good",
    document: Document | None = None,
    policy: Document = BY_RELEASE,
    now: dt.datetime = NOW,
    seen: int | None = None,
) -> Vector:
    """A quote by name, and manifests as texts; `seen` is the highest sequence that the verifier remembers."""
    text = json.dumps(document or quote())
    held = Blob(quote_name, text.encode())
    body = {
        "about": about,
        "stage": "manifest",
        "now": iso(now),
        "quote": held.name,
        "manifests": [manifests] if isinstance(manifests, str) else [json.dumps(each) for each in manifests],
        "seen": seen,
        "accept_mock": True,
        "policy": policy,
        "nonce": NONCE,
        "audience": ORIGIN_URL,
        "expect": expect.to_json(),
    }
    return Vector("manifest", slug, body, (held, *(part for part in GENOA.blobs() if "${" + part.name + "}" in text)))


def chain(older: Document, **changes: Json) -> list[Document]:
    """A manifest and its successor, which lists another measurement."""
    newer = {"sequence": 8, "previous": digest_of(jcs(older)), "release": {"name": "saferouter", "version": "0.2.0"}}
    after = predicate(**newer | {"measurements": [measured(OTHER_MEASUREMENT)]} | changes)
    return [envelope(older), envelope(statement(after))]


def good() -> Iterator[Vector]:
    yield manifest_vector("good", "Two of three keys, in force, and the build is the released one.", [signed()])
    yield manifest_vector("all-keys", "All three signed.", [envelope(statement(), KEYS)])
    about = "A stranger's signature beside two good ones does no harm."
    yield manifest_vector("stranger-beside", about, [envelope(statement(), ("stranger", *KEYS[1:]))])
    yield manifest_vector("first-manifest", "The first of its line.", [signed(sequence=1, previous=None)])
    about = "An older release of the chain is in force until it expires or is retired."
    yield manifest_vector("older-in-force", about, chain(statement()))
    yield manifest_vector("any-order", "The order in which manifests are given says nothing.", chain(statement())[::-1])
    yield manifest_vector("seen-same", "The same manifest as last time.", [signed()], seen=7)
    yield manifest_vector("seen-older", "A newer one than last time.", [signed()], seen=6)
    least = {"releases": RELEASES | {"minimum_sequence": 7}}
    yield manifest_vector("minimum-reached", "The least sequence of the policy.", [signed()], policy=least)
    about = "A retirement that is not due yet."
    row = {"release": "saferouter 0.1.0", "since": seconds(NOW + SECOND), "reason": "replaced"}
    yield manifest_vector("retired-later", about, [signed(retired=[row])])
    about = "Another release of that name is retired."
    yield manifest_vector("other-retired", about, [signed(retired=[row | {"release": "saferouter 0.0.9", "since": 0}])])
    listed = [measured(valid_from=seconds(NOW))]
    yield manifest_vector("valid-from-now", "A measurement valid from this second on.", [signed(measurements=listed)])
    about = "A package that was installed without its repository claims no commit."
    build = workload()["build"] | {"repo_commit": None}
    document = quote(workload_document=workload(build=build))
    yield manifest_vector("no-commit", about, [signed()], quote_name="quote-no-commit", document=document)
    about = "The image of the release, by its digest."
    document = quote(workload_document=workload(build=workload()["build"] | {"image_digest": fill("image")}))
    released = predicate()["build"] | {"image_digest": fill("image")}
    yield manifest_vector("image", about, [signed(build=released)], quote_name="quote-image", document=document)
    about = "A manifest's floor below the policy's does not lower it."
    yield manifest_vector("floor-below", about, [signed(tcb_floor={"Genoa": {"snp": 1}})])
    about = "A launch document rides along, and the rest of the row."
    listed = [measured(recipe={"format": "saferouter/launch/v1"}, machine="any", vcpus=4096, note="four")]
    yield manifest_vector("whole-row", about, [signed(measurements=listed)])
    about = "Boot images, floors of each product, a commit of SHA-256."
    images = [{f"pcr{n}": f"{n:02d}" * 48 for n in (4, 7, 12)}]
    floors = {"Milan": {"snp": 29}, "Turin": {"fmc": 0, "microcode": 255}}
    yield manifest_vector("boot-images", about, [signed(boot_images=images, tcb_floor=floors)])


def given() -> Iterator[Vector]:
    nothing = rejected(missing=["code.measurement", "code.release"])
    yield manifest_vector("none-given", "The policy names release keys, and no manifest was given.", [], nothing)
    own = policy() | BY_RELEASE
    about = "A measurement of the policy's own does not replace the manifest."
    yield manifest_vector("none-given-own-measurement", about, [], rejected(missing=["code.release"]), policy=own)
    about = "The keys serve TCB data alone: the policy's own measurement stands, and no manifest is demanded."
    free = policy() | {"releases": RELEASES | {"required": False}}
    yield manifest_vector("none-given-none-required", about, [], policy=free)
    about = "A manifest that nobody demands is judged all the same."
    yield manifest_vector("under-signed-not-required", about, [envelope(statement(), KEYS[:1])], DIFFERS, policy=free)
    about = "A measurement of the policy's own, which the manifest does not list."
    other = [signed(measurements=[measured(OTHER_MEASUREMENT)])]
    yield manifest_vector("own-measurement-unlisted", about, other, DIFFERS, policy=own)
    about = "A manifest of another measurement."
    both = rejected("code.measurement", "code.release")
    yield manifest_vector("unlisted", about, other, both)
    yield manifest_vector("no-measurements", "A manifest that lists none.", [signed(measurements=[])], REFUSED)


def signatures() -> Iterator[Vector]:
    whole = statement()
    raw = jcs(whole)
    one, two = (signature(label, raw) for label in KEYS[:2])
    bad = one | {"sig": two["sig"]}
    rows: list[tuple[str, str, Json]] = [
        ("under-signed", "One signature where two are wanted.", [one]),
        ("one-key-twice", "One key signed twice.", [one, one]),
        ("unknown-key", "One of the keys, and one that is not among them.", [one, signature("stranger", raw)]),
        ("unknown-keys", "Two keys that are not among them.", [signature(label, raw) for label in ("a", "b")]),
        (
            "bad-signature",
            "A key's signature of something else, beside enough good ones.",
            [bad, two, signature(KEYS[2], raw)],
        ),
        (
            "signature-of-payload",
            "Signed without DSSE's frame.",
            [two, one | {"sig": b64(ed25519_key(KEYS[0]).sign(raw).signature)}],
        ),
        ("signature-of-other-type", "Signed as another type.", [two, signature(KEYS[0], raw, "application/json")]),
        ("key-id-upper", "A key id in upper case is no key id.", [one | {"keyid": one["keyid"].upper()}, two]),
        ("no-signatures", "No signature.", []),
    ]
    for slug, about, signatures in rows:
        yield manifest_vector(slug, about, [envelope(whole, signatures=signatures)], REFUSED)
    about = "Signed and sealed as another type of payload."
    kind = "application/vnd.saferouter.tcb+json"
    other = envelope(whole, payloadType=kind, signatures=[signature(label, raw, kind) for label in KEYS])
    yield manifest_vector("payload-type", about, [other], REFUSED)
    about = "The payload was changed after it was signed."
    yield manifest_vector(
        "payload-changed", about, [envelope(whole) | {"payload": b64(jcs(statement(predicate(sequence=9))))}], REFUSED
    )
    yield manifest_vector("unknown-member", "An unknown member of the envelope.", [envelope(whole, extra=1)], REFUSED)
    yield manifest_vector("not-an-envelope", "The statement without an envelope.", [whole], REFUSED)
    yield manifest_vector("not-json", "No JSON.", "release", REFUSED)
    about = "A good manifest beside one that is not signed."
    yield manifest_vector("second-unsigned", about, [signed(), envelope(whole, KEYS[:1])], REFUSED)
    about = "The keys of the policy are others."
    keys = {"keys": [ed25519_public(label) for label in ("x", "y")], "threshold": 1}
    yield manifest_vector("other-keys", about, [signed()], REFUSED, policy={"releases": keys})


def sequences() -> Iterator[Vector]:
    yield manifest_vector("expired", "Expired this second.", [signed(expires=seconds(NOW))], REFUSED)
    yield manifest_vector("expires-next-second", "A second is left.", [signed(expires=seconds(NOW + SECOND))])
    yield manifest_vector("rolled-back", "A newer one was seen.", [signed()], REFUSED, seen=8)
    least = {"releases": RELEASES | {"minimum_sequence": 8}}
    yield manifest_vector("below-minimum", "Below the policy's least sequence.", [signed()], REFUSED, policy=least)
    older = statement()
    about = "The newer one names another predecessor."
    yield manifest_vector("previous-differs", about, chain(older, previous=fill("other")), REFUSED)
    yield manifest_vector("previous-null", "The newer one names none.", chain(older, previous=None), REFUSED)
    about = "One is missing between them."
    between = statement(predicate(sequence=8, previous=digest_of(jcs(older))))
    gap = [envelope(older), chain(between, sequence=9)[1]]
    yield manifest_vector("previous-gap", about, gap, REFUSED)
    fork = [signed(), signed(expires=seconds(NOW + 31 * DAY))]
    yield manifest_vector("one-number-twice", "Two manifests of one number.", fork, REFUSED)
    yield manifest_vector("one-manifest-twice", "One manifest given twice.", [signed(), signed()], REFUSED)
    about = "The newest has expired; an older one that lasts longer does not help."
    yield manifest_vector("newest-expired", about, chain(older, expires=seconds(NOW)), REFUSED)
    about = "One calls the measurement a workload, the other firmware: the laxer one must not win."
    rows = [measured(covers="firmware")]
    yield manifest_vector("two-meanings", about, chain(older, measurements=rows), REFUSED)
    unlisted = rejected("code.measurement", "code.release")
    about = "The older one has expired, and the newest lists another measurement."
    yield manifest_vector("older-expired", about, chain(statement(predicate(expires=seconds(NOW)))), unlisted)


def retirements() -> Iterator[Vector]:
    row = {"since": seconds(NOW), "reason": "a flaw in the parser"}
    release, value = row | {"release": "saferouter 0.1.0"}, row | {"measurement": MEASUREMENT.hex()}
    for slug, retired in (("release", release), ("measurement", value)):
        unlisted = rejected("code.measurement", "code.release")
        about = f"The {slug} was retired this second."
        yield manifest_vector(f"retired-{slug}", about, [signed(retired=[retired])], REFUSED)
        about = f"The {slug} was retired by the next manifest."
        yield manifest_vector(f"retired-{slug}-by-newer", about, chain(statement(), retired=[retired]), unlisted)
    about = "Retired, though the policy lists the measurement itself."
    own = policy() | BY_RELEASE
    yield manifest_vector("retired-own-measurement", about, [signed(retired=[value])], DIFFERS, policy=own)
    about = "A retired measurement that no manifest lists any more."
    gone = [signed(measurements=[measured(OTHER_MEASUREMENT)], retired=[value])]
    yield manifest_vector("retired-and-gone", about, gone, rejected("code.measurement", "code.release"))
    about = "What an older manifest retired and the newest does not is not retired."
    back = chain(statement(predicate(retired=[release])), measurements=[measured()], release=predicate()["release"])
    yield manifest_vector("retired-no-more", about, back)


def builds() -> Iterator[Vector]:
    build = predicate()["build"]
    rows: list[tuple[str, str, Document]] = [
        ("source-digest", "Another source.", {"build": build | {"source_digest": fill("other")}}),
        ("image-digest", "An image, where the quote names none.", {"build": build | {"image_digest": fill("image")}}),
        ("commit", "Another commit.", {"source": predicate()["source"] | {"repo_commit": "1" * 40}}),
    ]
    for slug, about, changes in rows:
        yield manifest_vector(f"build-{slug}", about, [signed(**changes)], DIFFERS)
    about = "The quote names an image, the release none."
    document = quote(workload_document=workload(build=workload()["build"] | {"image_digest": fill("image")}))
    yield manifest_vector(
        "build-image-unreleased", about, [signed()], DIFFERS, quote_name="quote-image", document=document
    )
    about = "The measurement covers firmware alone: it says nothing of what runs."
    firmware = [measured(covers="firmware", platform="ec2")]
    yield manifest_vector("firmware-only", about, [signed(measurements=firmware)], NO_IMAGE)
    about = "Firmware alone, though the policy accepts the measurement itself."
    own = policy() | BY_RELEASE
    yield manifest_vector("firmware-only-own", about, [signed(measurements=firmware)], NO_IMAGE, policy=own)
    later = [measured(valid_from=seconds(NOW + SECOND))]
    yield manifest_vector("valid-later", "Valid from the next second on.", [signed(measurements=later)], REFUSED)
    about = "The manifest raises the floor above what the chip reports."
    floor = {"Genoa": {"snp": 255}}
    yield manifest_vector("floor-above", about, [signed(tcb_floor=floor)], rejected("guest.tcb-floor"))


def images() -> Iterator[Vector]:
    """Firmware by AMD's word, the image by AWS's, and both in one manifest."""
    listed: Document = {"measurements": [measured(covers="firmware", platform="ec2")], "boot_images": [IMAGE]}
    held: Document = {"quote_name": "quote-nitro", "document": carrying(stated())}
    yield manifest_vector("image", "The image of the release.", [signed(**listed)], **held)
    about = "One of the images of the release."
    two = listed | {"boot_images": [IMAGE | {"pcr4": "11" * 48}, IMAGE]}
    yield manifest_vector("image-second", about, [signed(**two)], **held)
    about = "An image of another command line."
    other = listed | {"boot_images": [IMAGE | {"pcr12": "11" * 48}]}
    expect = rejected("code.release", IMAGED)
    yield manifest_vector("image-other", about, [signed(**other)], expect, **held)
    about = "The manifest lists no image."
    none = listed | {"boot_images": []}
    yield manifest_vector("image-none", about, [signed(**none)], rejected("code.release", missing=[IMAGED]), **held)
    about = "The image of a retired release, beside a newer one with the same firmware."
    row = {"release": "saferouter 0.1.0", "since": 0, "reason": "a flaw"}
    later = chain(statement(predicate(**listed)), **other, retired=[row])
    yield manifest_vector("image-retired", about, later, expect, **held)
    about = "The image of an older release in force, beside a newer one with the same firmware."
    yield manifest_vector("image-older", about, chain(statement(predicate(**listed)), **other), **held)
    about = "The image is the release's, and the source is another."
    build = {"build": predicate()["build"] | {"source_digest": fill("other")}}
    yield manifest_vector("image-other-source", about, [signed(**listed, **build)], DIFFERS, **held)
    about = "The image is the policy's own, and no release's."
    own = FIRMWARE | BY_RELEASE
    yield manifest_vector("image-own", about, [signed(**other)], DIFFERS, policy=own, **held)
    about = "The document about the image was forged."
    forged: Document = {"quote_name": "quote-nitro-forged", "document": carrying(flipped(stated(), -1))}
    yield manifest_vector("image-forged", about, [signed(**listed)], rejected("code.release", GENUINE), **forged)


def spellings() -> Iterator[Vector]:
    text = json.dumps(statement()).encode()
    rows: list[tuple[str, str, bytes]] = [
        ("spaces", "Spaces between its members.", text),
        ("order", "Members in another order.", json.dumps(statement(), separators=(",", ":")).encode()),
        ("line-break", "A line break after it.", jcs(statement()) + b"\n"),
        ("escape", "A letter escaped.", jcs(statement()).replace(b"saferouter", b"safe\\u0072outer", 1)),
        ("member-twice", "A member twice.", jcs(statement())[:-1] + b',"subject":[]}'),
        ("fraction", "7.0 for 7.", jcs(statement()).replace(b'"sequence":7', b'"sequence":7.0')),
        ("list", "A list.", b"[]"),
        ("empty", "No bytes.", b""),
        ("not-ascii", "A letter outside ASCII.", jcs(statement()).replace(b"disk", "d\u00efsk".encode())),
        ("not-utf-8", "A byte that is no UTF-8.", jcs(statement()).replace(b"disk", b"\xff\xffsk")),
    ]
    for slug, about, raw in rows:
        yield manifest_vector(f"payload-{slug}", about, [envelope(raw)], REFUSED)


def members() -> Iterator[Vector]:
    """Every name is required, and no other is known."""
    whole = statement(
        predicate(
            boot_images=[{f"pcr{n}": "00" * 48 for n in (4, 7, 12)}],
            retired=[{"release": "saferouter 0.0.1", "since": 0, "reason": "old"}],
        )
    )
    tables: list[tuple[str, ...]] = [(), ("predicate",)]
    tables += [("predicate", name) for name in ("release", "source", "build")]
    for path in tables:
        table: Json = whole
        for name in path:
            table = table[name]
        for name in table:
            slug = "-".join((*path, name)).lower().replace("_", "")
            yield manifest_vector(f"no-{slug}", f"No {name}.", [envelope(without(whole, *path, name))], REFUSED)
        slug = "-".join((*path, "unknown"))
        document = changed(whole, 1, *path, "unknown")
        yield manifest_vector(slug, "An unknown name.", [envelope(document)], REFUSED)


def rows() -> Iterator[Vector]:
    """Rows of lists: each name is required, and no other is known."""
    image = {f"pcr{n}": "00" * 48 for n in (4, 7, 12)}
    retired = {"release": "saferouter 0.0.1", "since": 0, "reason": "old"}
    for name, row in (("measurements", measured()), ("boot_images", image), ("retired", retired)):
        slug = name.replace("_", "-")
        for member in row:
            part = {key: value for key, value in row.items() if key != member}
            about = f"A row of {name} without {member}."
            yield manifest_vector(f"{slug}-no-{member.replace('_', '-')}", about, [signed(**{name: [part]})], REFUSED)
        about = f"An unknown name in a row of {name}."
        yield manifest_vector(f"{slug}-unknown", about, [signed(**{name: [row | {"unknown": 1}]})], REFUSED)
        yield manifest_vector(f"{slug}-text", f"A row of {name} that is text.", [signed(**{name: ["x"]})], REFUSED)
        yield manifest_vector(f"{slug}-object", f"{name} is an object.", [signed(**{name: {}})], REFUSED)


def values() -> Iterator[Vector]:
    release, source, build = (predicate()[name] for name in ("release", "source", "build"))
    row = {"release": "saferouter 0.0.1", "since": 0, "reason": "old"}
    faults: list[tuple[str, Document]] = [
        ("version-2", {"version": 2}),
        ("version-true", {"version": True}),
        ("name-upper", {"release": release | {"name": "SafeRouter"}}),
        ("name-long", {"release": release | {"name": "a" * 33}}),
        ("version-space", {"release": release | {"version": "0.1 0"}}),
        ("version-line-break", {"release": release | {"version": "0.1\n"}}),
        ("version-number", {"release": release | {"version": 1}}),
        ("sequence-0", {"sequence": 0}),
        ("sequence-text", {"sequence": "7"}),
        ("sequence-true", {"sequence": True}),
        ("expires-text", {"expires": "2026-07-01"}),
        ("expires-negative", {"expires": -1}),
        ("expires-year-10000", {"expires": 253402300800}),
        ("previous-hex", {"previous": "ab" * 32}),
        ("repo-url-empty", {"source": source | {"repo_url": ""}}),
        ("repo-url-line-break", {"source": source | {"repo_url": "a\nb"}}),
        ("commit-short", {"source": source | {"repo_commit": "0" * 12}}),
        ("commit-null", {"source": source | {"repo_commit": None}}),
        ("source-digest-null", {"build": build | {"source_digest": None}}),
        ("image-digest-upper", {"build": build | {"image_digest": "sha256:" + "AB" * 32}}),
        ("value-short", {"measurements": [measured("ab" * 47)]}),
        ("value-upper", {"measurements": [measured("AB" * 48)]}),
        ("value-twice", {"measurements": [measured(), measured(platform="gce")]}),
        ("covers-both", {"measurements": [measured(covers="both")]}),
        ("covers-null", {"measurements": [measured(covers=None)]}),
        ("platform-upper", {"measurements": [measured(platform="QEMU")]}),
        ("machine-number", {"measurements": [measured(machine=1)]}),
        ("vcpus-0", {"measurements": [measured(vcpus=0)]}),
        ("vcpus-4097", {"measurements": [measured(vcpus=4097)]}),
        ("recipe-list", {"measurements": [measured(recipe=[])]}),
        ("valid-from-text", {"measurements": [measured(valid_from="now")]}),
        ("note-line-break", {"measurements": [measured(note="a\nb")]}),
        ("measurements-1025", {"measurements": [measured(f"{number:096x}") for number in range(1025)]}),
        ("pcr-short", {"boot_images": [{f"pcr{n}": "00" * 32 for n in (4, 7, 12)}]}),
        ("floor-list", {"tcb_floor": []}),
        ("floor-product", {"tcb_floor": {"Rome": {"snp": 1}}}),
        ("floor-component", {"tcb_floor": {"Milan": {"fmc": 1}}}),
        ("floor-256", {"tcb_floor": {"Milan": {"snp": 256}}}),
        ("retired-nameless", {"retired": [row | {"release": "0.0.1"}]}),
        ("retired-short", {"retired": [{"measurement": "ab" * 47, "since": 0, "reason": "old"}]}),
        ("retired-both", {"retired": [row | {"measurement": "ab" * 48}]}),
        ("retired-since-null", {"retired": [row | {"since": None}]}),
        ("retired-no-reason", {"retired": [row | {"reason": ""}]}),
    ]
    for slug, changes in faults:
        yield manifest_vector(f"value-of-{slug}", f"{slug.replace('-', ' ')}.", [signed(**changes)], REFUSED)
    artefact = statement()["subject"][0]
    for slug, about, changes in (
        ("type", "Another type of statement.", {"_type": "https://in-toto.io/Statement/v0.1"}),
        ("predicate-type", "Another predicate.", {"predicateType": "https://slsa.dev/provenance/v1"}),
        ("subject-empty", "No artefact.", {"subject": []}),
        ("subject-twice", "One artefact twice.", {"subject": [artefact, artefact]}),
        ("subject-one-digest", "One digest.", {"subject": [artefact | {"digest": {"sha256": "11" * 32}}]}),
        (
            "subject-upper",
            "A digest in upper case.",
            {"subject": [artefact | {"digest": artefact["digest"] | {"sha256": "AB" * 32}}]},
        ),
        ("predicate-null", "No predicate.", {"predicate": None}),
    ):
        yield manifest_vector(f"statement-{slug}", about, [envelope(statement(**changes))], REFUSED)


def _policy_vector(slug: str, about: str, document: Document, malformed: str | None) -> Vector:
    expect = {"loads": True} if malformed is None else {"malformed": malformed}
    body = {"about": about, "stage": "policy", "document": json.dumps(document), "expect": expect}
    return Vector("policy", slug, body)


def policies() -> Iterator[Vector]:
    """Tables of release keys that load, and some that do not."""
    keys = RELEASES["keys"]
    rows: list[tuple[str, str, Json, str]] = [
        ("empty", "An empty table.", {}, "keys"),
        ("no-keys", "No key.", {"keys": [], "threshold": 1}, "keys"),
        ("key-twice", "One key twice.", {"keys": [keys[0], keys[0]], "threshold": 2}, "keys"),
        ("key-short", "A key of 31 bytes.", {"keys": ["ab" * 31], "threshold": 1}, "keys"),
        ("keys-17", "17 keys.", {"keys": [f"{n:064x}" for n in range(17)], "threshold": 1}, "keys"),
        ("no-threshold", "No threshold.", {"keys": keys}, "threshold"),
        ("threshold-0", "A threshold of 0.", {"keys": keys, "threshold": 0}, "threshold"),
        ("threshold-4", "4 of 3.", {"keys": keys, "threshold": 4}, "threshold"),
        ("threshold-true", "A threshold of true.", {"keys": keys, "threshold": True}, "threshold"),
        ("minimum-negative", "A negative least.", RELEASES | {"minimum_sequence": -1}, "minimum_sequence"),
        ("required-text", "A text for a switch.", RELEASES | {"required": "no"}, "required"),
        ("unknown-name", "An unknown name.", RELEASES | {"minimum": 1}, "minimum"),
    ]
    yield _policy_vector("releases", "Release keys, and no measurement.", BY_RELEASE, None)
    both = policy() | {"releases": RELEASES | {"minimum_sequence": 2**53 - 1}}
    yield _policy_vector("releases-and-measurement", "Release keys and a measurement.", both, None)
    no_list = BY_RELEASE | {"measurements": []}
    yield _policy_vector("releases-no-measurements", "Release keys and an empty list.", no_list, None)
    for slug, about, table, field in rows:
        yield _policy_vector(f"releases-{slug}", about, {"releases": table}, f"policy.releases.{field}")
    free = {"releases": RELEASES | {"required": False}}
    about = "Neither measurements nor manifests are demanded."
    yield _policy_vector("releases-not-required", about, free, "policy.measurements")
    yield _policy_vector("releases-null", "null for the table.", {"releases": None}, "policy.releases")
