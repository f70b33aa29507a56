// The sealed format, version 2, with WebCrypto. server/sealing.py documents it; the same vectors check both.

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SECRET_LENGTH = 22;
const STRETCH_ROUNDS = 600_000;
const NONCE_LENGTH = 12;
const PADDING_MULTIPLE = 256;
const VERSION = Uint8Array.of(2);
// Unicode's White_Space: trim() and Python's strip() each remove something else.
const WHITE_SPACE = "[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const AT_THE_ENDS = new RegExp(`^${WHITE_SPACE}|${WHITE_SPACE}$`, "g");

export const utf8 = (text) => new TextEncoder().encode(text);
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));

/** The sealed bytes cannot be opened. The error tells nothing about the message. */
export class SealingError extends Error {}

/** Whether this browser can seal here: only secure origins have WebCrypto. */
export const canSeal = () => globalThis.crypto?.subtle !== undefined;

/** 22 characters, drawn uniformly: bytes from 4 * 62 on would favour some of them. */
export function newSecret() {
  let secret = "";
  while (secret.length < SECRET_LENGTH) {
    const [byte] = crypto.getRandomValues(new Uint8Array(1));
    if (byte < 248) secret += ALPHABET[byte % 62];
  }
  return secret;
}

/** The secret with its two check characters, as in a link. */
export async function tokenOf(secret) {
  const n = new DataView((await sha256(utf8(secret))).buffer).getUint32(0) % 62 ** 2;
  return secret + ALPHABET[Math.floor(n / 62)] + ALPHABET[n % 62];
}

export async function isToken(text) {
  if (!/^[0-9A-Za-z]{24}$/.test(text)) return false;
  return !canSeal() || (await tokenOf(text.slice(0, SECRET_LENGTH))) === text;
}

export const stripPassphrase = (passphrase) => passphrase.replace(AT_THE_ENDS, "");

export async function linkProofOf(token) {
  return toText(await derive(secretOf(token), "link"));
}

/**
 * What follows from a token and its passphrase ("" for none): the seal key and the root of the keys of files, as
 * CryptoKeys; the proofs, their verifiers, the mark and the receipt, as base64url.
 */
export async function deriveKeys(token, passphrase = "") {
  const secret = secretOf(token);
  const ikm = joined(secret, await stretch(secret, stripPassphrase(passphrase)));
  const [linkProof, revealProof, key] = await Promise.all([
    linkProofOf(token), derive(ikm, "reveal").then(toText), derive(ikm, "seal"),
  ]);
  const mark = toText(await derive(key, "read"));
  const [linkVerifier, revealVerifier, markVerifier, sealKey, fileRoot] = await Promise.all([
    verifierOf(linkProof), verifierOf(revealProof), verifierOf(mark),
    crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]),
    crypto.subtle.importKey("raw", key, "HKDF", false, ["deriveKey"]),
  ]);
  return { sealKey, fileRoot, linkProof, linkVerifier, revealProof, revealVerifier, mark, receipt: linkProof + markVerifier };
}

export const verifierOf = async (proof) => toText(await sha256(fromText(proof)));

const secretOf = (token) => utf8(token.slice(0, SECRET_LENGTH));

async function stretch(salt, passphrase) {
  if (!passphrase) return new Uint8Array();
  const words = utf8(passphrase.normalize("NFKC"));
  const key = await crypto.subtle.importKey("raw", words, "PBKDF2", false, ["deriveBits"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt, iterations: STRETCH_ROUNDS };
  return new Uint8Array(await crypto.subtle.deriveBits(how, key, 256));
}

async function derive(ikm, purpose) {
  const key = await crypto.subtle.importKey("raw", ikm, "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8(`note-whisperer/2 ${purpose}`) };
  return new Uint8Array(await crypto.subtle.deriveBits(how, key, 256));
}

export const seal = (keys, message, nonce) => sealContent(keys, utf8(message), VERSION, nonce);

export async function sealContent({ sealKey }, content, version, nonce = newNonce()) {
  const padded = new Uint8Array((Math.floor(content.length / PADDING_MULTIPLE) + 1) * PADDING_MULTIPLE);
  padded.set(content);
  padded[content.length] = 0x80;
  const encrypted = await crypto.subtle.encrypt(gcm(nonce, version), sealKey, padded);
  return toText(joined(version, nonce, new Uint8Array(encrypted)));
}

const newNonce = () => crypto.getRandomValues(new Uint8Array(NONCE_LENGTH));

export async function openSealed(keys, sealed) {
  return openContent(keys, sealed, VERSION, fromUtf8);
}

// A byte order mark is part of the message.
export const fromUtf8 = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

export async function openContent({ sealKey }, sealed, version, read) {
  try {
    const bytes = fromText(sealed);
    if (bytes[0] !== version[0]) throw new SealingError();
    const nonce = bytes.subarray(1, 1 + NONCE_LENGTH);
    const encrypted = bytes.subarray(1 + NONCE_LENGTH);
    const padded = new Uint8Array(await crypto.subtle.decrypt(gcm(nonce, version), sealKey, encrypted));
    const end = padded.findLastIndex((byte) => byte !== 0);
    if (padded[end] !== 0x80) throw new SealingError();
    return read(padded.subarray(0, end));
  } catch {
    throw new SealingError("sealed with another token, or not a message");
  }
}

const gcm = (iv, additionalData) => ({ name: "AES-GCM", iv, additionalData });

export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function toText(bytes) {
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromText(text) {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
}
