// ATTESTATION_REPORT, the 1184 bytes that the AMD Secure Processor signs (SPEC §2.3).

import { hexOf, isZero } from "./bytes.js";
import { Malformed } from "./errors.js";

export const REPORT_SIZE = 0x4a0;
export const SIGNED_SIZE = 0x2a0; // the signature covers bytes 0x000..0x29f and nothing after them
export const VERSIONS = [2, 3, 4, 5]; // 6 exists (ABI 1.59) and is refused until its fields are known here
export const HOST_REQUESTED_VMPL = 0xffffffff;
const SIGNATURE_COMPONENT_SIZE = 72;
const P384_SIZE = 48;
const P384_ORDER = 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n;

/** KEY_INFO bits 4:2, by name. */
const SIGNING_KEYS = ["VCEK", "VLEK"];

/** POLICY bits above the ABI version, by number. SMT, MIGRATE_MA, DEBUG and CXL permit; the others restrict. */
export const GUEST_POLICY = Object.freeze({
  SMT: 16,
  RESERVED_ONE: 17,
  MIGRATE_MA: 18,
  DEBUG: 19,
  SINGLE_SOCKET: 20,
  CXL_ALLOW: 21,
  MEM_AES_256_XTS: 22,
  RAPL_DIS: 23,
  CIPHERTEXT_HIDING_DRAM: 24,
  PAGE_SWAP_DISABLE: 25,
});

/** PLATFORM_INFO bits by number; bits above these are informational (SPEC §2.5). */
export const PLATFORM_INFO = Object.freeze({
  SMT_EN: 0,
  TSME_EN: 1,
  ECC_EN: 2,
  RAPL_DIS: 3,
  CIPHERTEXT_HIDING_DRAM_EN: 4,
  ALIAS_CHECK_COMPLETE: 5,
  IOMMU_WRITE_SAFE: 6,
  TIO_EN: 7,
});

/** The words for these bits in policies and TCB data. */
export const PLATFORM_WORDS = Object.freeze({
  smt: PLATFORM_INFO.SMT_EN,
  tsme: PLATFORM_INFO.TSME_EN,
  ecc: PLATFORM_INFO.ECC_EN,
  "rapl-dis": PLATFORM_INFO.RAPL_DIS,
  "ciphertext-hiding-dram": PLATFORM_INFO.CIPHERTEXT_HIDING_DRAM_EN,
  "alias-check-complete": PLATFORM_INFO.ALIAS_CHECK_COMPLETE,
  "iommu-write-safe": PLATFORM_INFO.IOMMU_WRITE_SAFE,
  tio: PLATFORM_INFO.TIO_EN,
});

/**
 * The parsed report. Byte strings keep the report's own order; TCBs stay raw until the product is known.
 * @typedef {object} AttestationReport
 * @property {number} version
 * @property {number} guestSvn
 * @property {number} policy
 * @property {{major: number, minor: number}} abi the least ABI version that the guest's owner asked for
 * @property {Uint8Array} familyId 16 bytes
 * @property {Uint8Array} imageId 16 bytes
 * @property {number} vmpl
 * @property {Uint8Array} currentTcb 8 bytes
 * @property {bigint} platformInfo
 * @property {boolean} authorKeyEn
 * @property {"VCEK" | "VLEK"} signingKey
 * @property {Uint8Array} reportData 64 bytes
 * @property {Uint8Array} measurement 48 bytes
 * @property {Uint8Array} hostData 32 bytes
 * @property {Uint8Array} idKeyDigest 48 bytes
 * @property {Uint8Array} authorKeyDigest 48 bytes
 * @property {Uint8Array} reportId 32 bytes
 * @property {Uint8Array} reportIdMa 32 bytes
 * @property {Uint8Array} reportedTcb 8 bytes
 * @property {{family: number, model: number, stepping: number} | null} cpuid null in version 2
 * @property {Uint8Array} chipId 64 bytes
 * @property {Uint8Array} committedTcb 8 bytes
 * @property {number[]} currentFirmware major, minor, build
 * @property {number[]} committedFirmware
 * @property {Uint8Array} launchTcb 8 bytes
 * @property {bigint | null} launchMitigations null before version 5
 * @property {bigint | null} currentMitigations
 * @property {Uint8Array} signature 96 bytes: r then s, big-endian, as WebCrypto takes them
 */

/**
 * Parse 1184 bytes strictly (checks 1 to 5 of SPEC §6).
 * @param {Uint8Array} raw @returns {AttestationReport}
 */
export function parseReport(raw) {
  if (raw.length !== REPORT_SIZE) throw new Malformed("report", `${raw.length} bytes`, `${REPORT_SIZE} bytes`); // 1
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const u32 = (/** @type {number} */ at) => view.getUint32(at, true);
  const u64 = (/** @type {number} */ at) => view.getBigUint64(at, true);
  const version = u32(0x000);
  if (!VERSIONS.includes(version)) throw new Malformed("VERSION", version, "2, 3, 4 or 5"); // 2
  const algorithm = u32(0x034);
  if (algorithm !== 1) throw new Malformed("SIGNATURE_ALGO", algorithm, "1 (ECDSA P-384 with SHA-384)"); // 2
  requireReservedZero(raw, version);
  const signingKey = parseKeyInfo(u32(0x048));
  const signature = parseSignature(raw);
  const policy = parsePolicyBits(u64(0x008));
  return Object.freeze({
    version,
    guestSvn: u32(0x004),
    policy,
    abi: Object.freeze({ major: (policy >> 8) & 0xff, minor: policy & 0xff }),
    familyId: raw.slice(0x010, 0x020),
    imageId: raw.slice(0x020, 0x030),
    vmpl: u32(0x030),
    currentTcb: raw.slice(0x038, 0x040),
    platformInfo: u64(0x040),
    authorKeyEn: (raw[0x048] & 1) === 1,
    signingKey,
    reportData: raw.slice(0x050, 0x090),
    measurement: raw.slice(0x090, 0x0c0),
    hostData: raw.slice(0x0c0, 0x0e0),
    idKeyDigest: raw.slice(0x0e0, 0x110),
    authorKeyDigest: raw.slice(0x110, 0x140),
    reportId: raw.slice(0x140, 0x160),
    reportIdMa: raw.slice(0x160, 0x180),
    reportedTcb: raw.slice(0x180, 0x188),
    cpuid: version >= 3 ? { family: raw[0x188], model: raw[0x189], stepping: raw[0x18a] } : null,
    chipId: raw.slice(0x1a0, 0x1e0),
    committedTcb: raw.slice(0x1e0, 0x1e8),
    currentFirmware: [raw[0x1ea], raw[0x1e9], raw[0x1e8]],
    committedFirmware: [raw[0x1ee], raw[0x1ed], raw[0x1ec]],
    launchTcb: raw.slice(0x1f0, 0x1f8),
    launchMitigations: version >= 5 ? u64(0x1f8) : null,
    currentMitigations: version >= 5 ? u64(0x200) : null,
    signature,
  });
}

/** @param {Uint8Array} raw @param {number} version */
function requireReservedZero(raw, version) {
  const reserved = [
    [0x04c, 0x050],
    [version < 3 ? 0x188 : 0x18b, 0x1a0],
    [0x1eb, 0x1ec],
    [0x1ef, 0x1f0],
    [version < 5 ? 0x1f8 : 0x208, SIGNED_SIZE],
    [0x330, REPORT_SIZE], // not signed: anything here would be an attacker's note
  ];
  for (const [start, end] of reserved) {
    if (!isZero(raw.subarray(start, end))) {
      const [from, to] = [start, end].map((at) => `0x${at.toString(16).padStart(3, "0")}`);
      throw new Malformed(`report[${from}:${to}]`, "non-zero bytes", "reserved bytes zero"); // 3
    }
  }
}

/** @param {bigint} bits @returns {number} */
function parsePolicyBits(bits) {
  const found = `0x${bits.toString(16).padStart(16, "0")}`;
  if (!((bits >> BigInt(GUEST_POLICY.RESERVED_ONE)) & 1n)) throw new Malformed("POLICY", found, "bit 17 set"); // 4
  if (bits >> 26n) throw new Malformed("POLICY", found, "bits 63:26 zero");
  return Number(bits);
}

/** @param {number} keyInfo */
function parseKeyInfo(keyInfo) {
  if (keyInfo >>> 5) {
    throw new Malformed("KEY_INFO", `0x${keyInfo.toString(16).padStart(8, "0")}`, "bits 31:5 zero"); // 5
  }
  if (keyInfo & 2) {
    throw new Malformed("KEY_INFO", "MASK_CHIP_KEY set", "MASK_CHIP_KEY clear: a masked report is not signed");
  }
  const signer = (keyInfo >>> 2) & 7;
  if (signer >= SIGNING_KEYS.length) {
    throw new Malformed("KEY_INFO", `SIGNING_KEY ${signer}`, "SIGNING_KEY 0 (VCEK) or 1 (VLEK)");
  }
  return SIGNING_KEYS[signer];
}

/** @param {Uint8Array} raw */
function parseSignature(raw) {
  const components = [
    ["SIGNATURE.R", 0x2a0],
    ["SIGNATURE.S", 0x2e8],
  ].map(([name, at]) => {
    const bigEndian = raw.slice(at, at + SIGNATURE_COMPONENT_SIZE).reverse();
    const value = BigInt(`0x${hexOf(bigEndian)}`);
    // Before the slice: a verifier that drops the 24 high bytes accepts r + n for r.
    if (value < 1n || value >= P384_ORDER) {
      throw new Malformed(name, "a number outside the P-384 group", "1 <= value < n, high bytes zero"); // 3
    }
    return bigEndian.subarray(SIGNATURE_COMPONENT_SIZE - P384_SIZE);
  });
  return new Uint8Array([...components[0], ...components[1]]);
}
