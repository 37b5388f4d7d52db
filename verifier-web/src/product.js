// AMD products: which CPUs they are, how their TCB is laid out, which keys they chain to (SPEC §2).

import { hexOf } from "./bytes.js";
import { Malformed } from "./errors.js";

const TCB_SIZE = 8;
export const MOCK_ARK_CN = "SAFEROUTER-MOCK-ARK";
export const MOCK_ASK_CN = "SAFEROUTER-MOCK-ASK";

/** @typedef {{commonName: string, derSha256: string, spkiSha256: string}} Pin an AMD certificate, by two digests */
/** @typedef {Record<string, number>} Tcb component to version, in byte order */
/**
 * One product line. `tcbLayout` maps a component to its byte; the other bytes are reserved.
 * @typedef {object} Product
 * @property {string} name
 * @property {Pin} ark
 * @property {Pin} ask
 * @property {Pin} asvk
 * @property {Record<string, number>} tcbLayout
 * @property {number} hwidSize bytes of CHIP_ID that identify the chip; the rest is zero
 */

const ZEN3_LAYOUT = Object.freeze({ bootloader: 0, tee: 1, snp: 6, microcode: 7 });
const TURIN_LAYOUT = Object.freeze({ fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 7 });

/** @param {string} commonName @param {string} derSha256 @param {string} spkiSha256 @returns {Pin} */
const pin = (commonName, derSha256, spkiSha256) => Object.freeze({ commonName, derSha256, spkiSha256 });

// SHA-256 of DER and SubjectPublicKeyInfo of AMD's nine authorities. Anchors live here, never in evidence.
/** @type {Product} */
export const MILAN = Object.freeze({
  name: "Milan",
  ark: pin(
    "ARK-Milan",
    "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
  ),
  ask: pin(
    "SEV-Milan",
    "67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b",
    "42491669ccb851d627ea9846cd24eccbeb7de7c2a62740120fff88001d38ebb6",
  ),
  asvk: pin(
    "SEV-VLEK-Milan",
    "c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5",
    "66450a123ea5876206df67f2514a4fea224c0f63b18313423078b0edc4535e33",
  ),
  tcbLayout: ZEN3_LAYOUT,
  hwidSize: 64,
});

/** @type {Product} */
export const GENOA = Object.freeze({
  name: "Genoa",
  ark: pin(
    "ARK-Genoa",
    "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
  ),
  ask: pin(
    "SEV-Genoa",
    "5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521",
    "0324d55bcd48ba877a8fd87c0e1b4934dec8448e3807a24384a34dc6a6c9ebb8",
  ),
  asvk: pin(
    "SEV-VLEK-Genoa",
    "197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372",
    "7d1633252ebbadaa75f96e9b4e6f7d43a90ceb3f843937482630f8da2459264e",
  ),
  tcbLayout: ZEN3_LAYOUT,
  hwidSize: 64,
});

/** @type {Product} */
export const TURIN = Object.freeze({
  name: "Turin",
  ark: pin(
    "ARK-Turin",
    "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
    "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
  ),
  ask: pin(
    "SEV-Turin",
    "5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185",
    "0000ead352025f208bf55297c4192c34cd1b878002107366d8f2065a9ae7d3a9",
  ),
  asvk: pin(
    "SEV-VLEK-Turin",
    "104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c",
    "bfc441408b2f806c5dbf180bd8920e6e60dd404d82141780d85dbf962954d386",
  ),
  tcbLayout: TURIN_LAYOUT,
  hwidSize: 8,
});

/** @type {ReadonlyMap<string, Product>} */
export const PRODUCTS = new Map([MILAN, GENOA, TURIN].map((product) => [product.name, product]));

/**
 * The product of a CPUID (reports of version 3 and later), or null for a CPU that is not known here.
 * @param {number} family @param {number} model @returns {Product | null}
 */
export function productOfCpuid(family, model) {
  if (family === 0x19 && model <= 0x0f) return MILAN;
  // A0h to AFh: Bergamo and Siena.
  if (family === 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf))) return GENOA;
  return family === 0x1a && model <= 0x11 ? TURIN : null;
}

/**
 * The product of a certificate's productName, for example `Milan-B0`; the stepping is ignored.
 * @param {string} productName @returns {Product | null}
 */
export const productOfName = (productName) => PRODUCTS.get(productName.split("-")[0]) ?? null;

/**
 * The components of an 8-byte TCB_VERSION, in byte order.
 * @param {Uint8Array} raw @param {Product} product @param {string} field @returns {Tcb}
 */
export function parseTcb(raw, product, field) {
  const layout = Object.entries(product.tcbLayout);
  const used = new Set(layout.map(([, at]) => at));
  if (raw.subarray(0, TCB_SIZE).some((byte, at) => byte !== 0 && !used.has(at))) {
    throw new Malformed(field, hexOf(raw), `reserved bytes zero in the ${product.name} layout`);
  }
  return Object.fromEntries(layout.map(([name, at]) => [name, raw[at]]));
}

/** `bootloader 4, tee 0, snp 24, microcode 217`. @param {Tcb} tcb */
export const tcbText = (tcb) =>
  Object.entries(tcb)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");

/**
 * Component-wise comparison; a component that `floor` does not name is not compared (SPEC §2.2).
 * @param {Tcb} tcb @param {Tcb} floor
 */
export const tcbAtLeast = (tcb, floor) => Object.entries(floor).every(([name, least]) => (tcb[name] ?? -1) >= least);
