// Who is signed in, in this tab or on this device; the admin token, which this device never keeps.

const KEY = "saferouter.key";
const ADMIN = "saferouter.admin";
let inMemory = /** @type {{key: string, admin: string}} */ ({ key: "", admin: "" }); // where the browser keeps nothing

/** The API key, "" if signed out. */
export function apiKey() {
  return read(sessionStorageOrNull(), KEY) || read(localStorageOrNull(), KEY) || inMemory.key;
}

/** Whether the key outlives this tab. */
export const isRemembered = () => read(localStorageOrNull(), KEY) !== "";

/** @param {string} key @param {boolean} remember on this device, until signed out */
export function signIn(key, remember) {
  forget(KEY);
  inMemory.key = key;
  write(remember ? localStorageOrNull() : sessionStorageOrNull(), KEY, key);
}

/** Forget the key and the admin token, here and on this device. */
export function signOut() {
  inMemory = { key: "", admin: "" };
  forget(KEY);
  forget(ADMIN);
}

/** @param {string} name */
function forget(name) {
  sessionStorageOrNull()?.removeItem(name);
  localStorageOrNull()?.removeItem(name);
}

/** The admin token, "" if none was given. */
export const adminToken = () => inMemory.admin || read(sessionStorageOrNull(), ADMIN);

/** @param {string} token "" forgets it @param {boolean} keep until the tab is closed, else until it is loaded again */
export function useAdminToken(token, keep) {
  inMemory.admin = token;
  sessionStorageOrNull()?.removeItem(ADMIN);
  if (keep && token) write(sessionStorageOrNull(), ADMIN, token);
}

/** What this device keeps of the reader's own choices and conversations; `otherwise` where there is nothing, or not JSON. */
export function recall(name, otherwise) {
  try {
    return JSON.parse(read(localStorageOrNull(), `saferouter.${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Whether it could be kept: a device may be full or refuse. @returns {boolean} */
export const keep = (name, value) => write(localStorageOrNull(), `saferouter.${name}`, JSON.stringify(value));

/** @param {Storage | null} store */
const read = (store, name) => store?.getItem(name) ?? "";

function write(store, name, value) {
  try {
    store?.setItem(name, value);
    return store !== null;
  } catch {
    return false;
  }
}

function sessionStorageOrNull() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

function localStorageOrNull() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
