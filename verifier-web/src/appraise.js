// Acceptable? Whether an authentic report's values satisfy a policy: checks 15 and 17 to 22 of SPEC §6.

import { hexOf } from "./bytes.js";
import { failed, judged, passed, skipped, unparsed } from "./evidence.js";
import { checkStatus } from "./grade.js";
import { GUEST_PERMISSIONS, GUEST_RESTRICTIONS } from "./policy.js";
import { parseTcb, tcbAtLeast, tcbText } from "./product.js";
import { GUEST_POLICY, HOST_REQUESTED_VMPL, PLATFORM_WORDS } from "./report.js";

/** @typedef {import("./evidence.js").Check} Check */
/** @typedef {import("./policy.js").AppraisalPolicy} AppraisalPolicy */
/** @typedef {import("./product.js").Product} Product */
/** @typedef {import("./report.js").AttestationReport} AttestationReport */

export const CHECKS = Object.freeze([
  "guest.tcb-lattice",
  "guest.tcb-floor",
  "guest.tcb-status",
  "guest.vmpl",
  "guest.debug",
  "guest.migration",
  "guest.abi",
  "guest.policy",
  "guest.platform",
  "guest.mitigations",
  "guest.pins",
  "code.measurement",
]);
const FIRMWARE_ONLY = "this measurement covers firmware only: which image was booted is for code.boot-image to say";
export const EC2_FIRMWARE_ONLY =
  "on EC2 a measurement covers Amazon's firmware only, the same for every customer, and no image";
const EC2_CSP_SUFFIX = ".amazonaws.com"; // a VLEK's cspID; with a VCEK (a Dedicated Host) no report says EC2

/**
 * Judge every value of `report` against `policy`; needs the product that authenticate() found.
 * @param {AttestationReport} report @param {Product | null} product @param {string | null} cspId
 * @param {AppraisalPolicy} policy @param {import("./bulletins.js").TcbData} tcb @param {Date} now @returns {Check[]}
 */
export function appraise(report, product, cspId, policy, tcb, now) {
  if (product === null) return CHECKS.map((id) => skipped(id, "the product is unknown"));
  return [
    ...checkTcbs(report, product, policy, tcb, now), // 15, 19, 21
    checkVmpl(report, policy), // 17
    checkDebug(report), // 18
    checkMigration(report), // 18
    checkAbi(report, policy), // 18
    checkGuestPolicy(report, policy), // 18
    checkPlatform(report, policy), // 19
    checkMitigations(report, policy), // 21
    checkPins(report, cspId, policy), // 20, 22
    checkMeasurement(report, cspId, policy), // 20
  ];
}

function checkTcbs(report, product, policy, tcb, now) {
  try {
    const reported = parseTcb(report.reportedTcb, product, "REPORTED_TCB");
    const committed = parseTcb(report.committedTcb, product, "COMMITTED_TCB");
    const current = parseTcb(report.currentTcb, product, "CURRENT_TCB");
    const launch = parseTcb(report.launchTcb, product, "LAUNCH_TCB");
    return [
      checkLattice(report, { reported, committed, current }, policy),
      checkFloor({ reported, launch }, product, policy),
      checkStatus(report, product, policy, tcb, now),
    ];
  } catch (error) {
    const rest = CHECKS.slice(1, 3).map((id) => skipped(id, "the TCB versions do not parse"));
    return [unparsed("guest.tcb-lattice", error), ...rest];
  }
}

/** Whether version `a` (major, minor, build) comes before `b`. @param {number[]} a @param {number[]} b */
function isEarlier(a, b) {
  const at = a.findIndex((part, index) => part !== b[index]);
  return at >= 0 && a[at] < b[at];
}

/** REPORTED <= COMMITTED <= CURRENT; a CURRENT above COMMITTED can be rolled back by the host. */
function checkLattice(report, { reported, committed, current }, { allowProvisionalFirmware }) {
  const { currentFirmware: now, committedFirmware: kept } = report;
  const found =
    `reported ${tcbText(reported)}; committed ${tcbText(committed)}, firmware ${kept.join(".")}; ` +
    `current ${tcbText(current)}, firmware ${now.join(".")}`;
  if (!tcbAtLeast(committed, reported) || !tcbAtLeast(current, committed) || isEarlier(now, kept)) {
    return failed("guest.tcb-lattice", found, "reported <= committed <= current, component by component");
  }
  if (allowProvisionalFirmware) return passed("guest.tcb-lattice", found, "reported <= committed <= current");
  return tcbText(current) === tcbText(committed) && now.join() === kept.join()
    ? passed("guest.tcb-lattice", found, "current equal to committed")
    : failed("guest.tcb-lattice", found, "current equal to committed: no provisional firmware");
}

function checkFloor({ reported, launch }, { name }, policy) {
  const floor = policy.tcbFloor[name];
  const launchFloor = policy.launchTcbFloor[name] ?? {};
  if (!tcbAtLeast(launch, launchFloor)) {
    return failed("guest.tcb-floor", `launch ${tcbText(launch)}`, `at least ${tcbText(launchFloor)}`);
  }
  const held = tcbAtLeast(reported, floor);
  return judged("guest.tcb-floor", held, tcbText(reported), `at least ${tcbText(floor)}`);
}

function checkVmpl({ vmpl }, policy) {
  const found = vmpl === HOST_REQUESTED_VMPL ? "requested by the host" : `VMPL ${vmpl}`;
  return judged("guest.vmpl", vmpl === policy.vmpl, found, `VMPL ${policy.vmpl}`);
}

function checkDebug({ policy }) {
  const debug = hasBit(policy, GUEST_POLICY.DEBUG);
  return judged("guest.debug", !debug, debug ? "DEBUG on" : "DEBUG off", "DEBUG off");
}

function checkMigration({ policy, reportIdMa }) {
  if (hasBit(policy, GUEST_POLICY.MIGRATE_MA)) return failed("guest.migration", "MIGRATE_MA on", "MIGRATE_MA off");
  const agent = reportIdMa.some((byte) => byte !== 0xff);
  const found = agent ? `migration agent ${hexOf(reportIdMa)}` : "no migration agent";
  return judged("guest.migration", !agent, found, "no migration agent");
}

function checkAbi({ abi, guestSvn }, { minimumAbi, minimumGuestSvn }) {
  const newEnough = abi.major > minimumAbi.major || (abi.major === minimumAbi.major && abi.minor >= minimumAbi.minor);
  return judged(
    "guest.abi",
    newEnough && guestSvn >= minimumGuestSvn,
    `policy ABI ${abi.major}.${abi.minor}, guest SVN ${guestSvn}`,
    `policy ABI at least ${minimumAbi.major}.${minimumAbi.minor}, guest SVN at least ${minimumGuestSvn}`,
  );
}

/** Permissions (SMT, CXL) only if allowed; restrictions only matter if required (SPEC §2.4). */
function checkGuestPolicy({ policy: bits }, { guestAllow, guestRequire }) {
  const granted = wordsOf(bits, GUEST_PERMISSIONS);
  const present = wordsOf(bits, GUEST_RESTRICTIONS);
  return judged(
    "guest.policy",
    isWithin(granted, guestAllow) && isWithin(guestRequire, present),
    `allows ${listed(granted)}; restricts ${listed(present)}`,
    `allows at most ${listed(guestAllow)}; restricts ${listed(guestRequire)}`,
  );
}

function checkPlatform({ platformInfo }, { platformRequire, platformForbid }) {
  const on = wordsOf(platformInfo, PLATFORM_WORDS);
  const held = isWithin(platformRequire, on) && !platformForbid.some((word) => on.includes(word));
  const wanted = `on ${listed(platformRequire)}; off ${listed(platformForbid)}`;
  return judged("guest.platform", held, `on ${listed(on)}`, wanted);
}

function checkMitigations({ version, launchMitigations, currentMitigations }, { requiredMitigations: required }) {
  if (required === 0n) return skipped("guest.mitigations", "the policy requires none");
  const hex = (/** @type {bigint} */ bits) => `0x${bits.toString(16)}`;
  if (launchMitigations === null || currentMitigations === null) {
    return failed("guest.mitigations", `a version ${version} report, without them`, hex(required));
  }
  const held = (launchMitigations & currentMitigations & required) === required;
  const found = `launch ${hex(launchMitigations)}, current ${hex(currentMitigations)}`;
  return judged("guest.mitigations", held, found, `all of ${hex(required)}`);
}

/** The optional pins: chip, cloud, owner keys, HOST_DATA, family and image. */
function checkPins(report, cspId, policy) {
  const values = {
    chip_ids: hexOf(report.chipId),
    id_key_digests: hexOf(report.idKeyDigest),
    author_key_digests: hexOf(report.authorKeyDigest),
    host_data: hexOf(report.hostData),
    family_ids: hexOf(report.familyId),
    image_ids: hexOf(report.imageId),
    csp_ids: cspId ?? "",
  };
  const pinned = Object.entries({ ...policy.pins, csp_ids: policy.cspIds }).filter(([, pins]) => pins.length > 0);
  if (pinned.length === 0) return skipped("guest.pins", "the policy pins nothing");
  const broken = pinned.find(([name, pins]) => !pins.includes(values[name]) || (name === "csp_ids" && cspId === null));
  if (broken) {
    const [name, pins] = broken;
    return failed("guest.pins", `${name} ${values[name] || "none"}`, `one of ${pins.join(", ")}`);
  }
  return passed("guest.pins", listed(pinned.map(([name]) => name)), "pinned values");
}

function checkMeasurement(report, cspId, { measurements, firmwareMeasurements }) {
  const found = hexOf(report.measurement);
  const accepted = [...measurements, ...firmwareMeasurements];
  if (accepted.length === 0) {
    return skipped("code.measurement", "your policy lists no measurement, and no signed manifest in force adds one");
  }
  let reason = "";
  if (firmwareMeasurements.includes(found)) reason = FIRMWARE_ONLY;
  else if (measurements.includes(found) && cspId?.endsWith(EC2_CSP_SUFFIX)) reason = EC2_FIRMWARE_ONLY;
  return judged("code.measurement", accepted.includes(found), found, `one of ${accepted.join(", ")}`, reason);
}

/** @param {number | bigint} bits @param {number} bit */
const hasBit = (bits, bit) => ((BigInt(bits) >> BigInt(bit)) & 1n) === 1n;

const wordsOf = (bits, words) =>
  Object.entries(words)
    .filter(([, bit]) => hasBit(bits, bit))
    .map(([word]) => word);

const isWithin = (words, others) => words.every((word) => others.includes(word));

const listed = (words) => words.join(", ") || "nothing";
