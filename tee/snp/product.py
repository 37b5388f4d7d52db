"""AMD products: which CPUs they are, how their TCB is laid out, which keys they chain to (SPEC §2)."""

from __future__ import annotations

from dataclasses import dataclass

from tee.errors import Malformed

TCB_SIZE = 8
MOCK_ARK_CN, MOCK_ASK_CN = "SAFEROUTER-MOCK-ARK", "SAFEROUTER-MOCK-ASK"


@dataclass(frozen=True, slots=True)
class Pin:
    """A certificate of AMD, known by the SHA-256 of its DER and of its public key."""

    common_name: str
    der_sha256: str
    spki_sha256: str


@dataclass(frozen=True, slots=True)
class Product:
    """One product line. `tcb_layout` maps a component to its byte; the other bytes are reserved."""

    name: str
    ark: Pin
    ask: Pin
    asvk: Pin
    tcb_layout: dict[str, int]
    hwid_size: int  # bytes of CHIP_ID that identify the chip; the rest is zero


Tcb = dict[str, int]

_ZEN3_LAYOUT = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_TURIN_LAYOUT = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}

# SHA-256 of DER and SubjectPublicKeyInfo of AMD's nine authorities. Anchors live here, never in evidence.
MILAN = Product(
    "Milan",
    Pin(
        "ARK-Milan",
        "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
        "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
    ),
    Pin(
        "SEV-Milan",
        "67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b",
        "42491669ccb851d627ea9846cd24eccbeb7de7c2a62740120fff88001d38ebb6",
    ),
    Pin(
        "SEV-VLEK-Milan",
        "c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5",
        "66450a123ea5876206df67f2514a4fea224c0f63b18313423078b0edc4535e33",
    ),
    _ZEN3_LAYOUT,
    64,
)
GENOA = Product(
    "Genoa",
    Pin(
        "ARK-Genoa",
        "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
        "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
    ),
    Pin(
        "SEV-Genoa",
        "5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521",
        "0324d55bcd48ba877a8fd87c0e1b4934dec8448e3807a24384a34dc6a6c9ebb8",
    ),
    Pin(
        "SEV-VLEK-Genoa",
        "197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372",
        "7d1633252ebbadaa75f96e9b4e6f7d43a90ceb3f843937482630f8da2459264e",
    ),
    _ZEN3_LAYOUT,
    64,
)
TURIN = Product(
    "Turin",
    Pin(
        "ARK-Turin",
        "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
        "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
    ),
    Pin(
        "SEV-Turin",
        "5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185",
        "0000ead352025f208bf55297c4192c34cd1b878002107366d8f2065a9ae7d3a9",
    ),
    Pin(
        "SEV-VLEK-Turin",
        "104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c",
        "bfc441408b2f806c5dbf180bd8920e6e60dd404d82141780d85dbf962954d386",
    ),
    _TURIN_LAYOUT,
    8,
)
PRODUCTS = {product.name: product for product in (MILAN, GENOA, TURIN)}


def product_of_cpuid(family: int, model: int) -> Product | None:
    """The product of a CPUID (reports of version 3 and later), or None for a CPU that is not known here."""
    if family == 0x19:
        if model <= 0x0F:
            return MILAN
        if 0x10 <= model <= 0x1F or 0xA0 <= model <= 0xAF:  # A0h to AFh: Bergamo and Siena
            return GENOA
    if family == 0x1A and model <= 0x11:
        return TURIN
    return None


def product_of_name(product_name: str) -> Product | None:
    """The product of a certificate's productName, for example `Milan-B0`; the stepping is ignored."""
    return PRODUCTS.get(product_name.split("-")[0])


def parse_tcb(raw: bytes, product: Product, field: str) -> Tcb:
    """The components of an 8-byte TCB_VERSION, in byte order. Raises Malformed."""
    used = product.tcb_layout.values()
    if any(raw[at] for at in range(TCB_SIZE) if at not in used):
        raise Malformed(field, raw.hex(), f"reserved bytes zero in the {product.name} layout")
    return {name: raw[at] for name, at in product.tcb_layout.items()}


def encode_tcb(tcb: Tcb, product: Product) -> bytes:
    """The 8 bytes of a TCB_VERSION."""
    raw = bytearray(TCB_SIZE)
    for name, value in tcb.items():
        raw[product.tcb_layout[name]] = value
    return bytes(raw)


def tcb_text(tcb: Tcb) -> str:
    """`bootloader 4, tee 0, snp 24, microcode 217`."""
    return ", ".join(f"{name} {value}" for name, value in tcb.items())


def tcb_at_least(tcb: Tcb, floor: Tcb) -> bool:
    """Component-wise comparison; a component that `floor` does not name is not compared (SPEC §2.2)."""
    return all(tcb.get(name, -1) >= value for name, value in floor.items())
