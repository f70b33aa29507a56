// The sealed format, version 1, with WebCrypto: the same as server/sealing.py, held to the same vectors.
// Secret to token; token and passphrase to lock (seal key and proof); lock and message to sealed and back.

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SECRET_LENGTH = 22;
const STRETCH_ROUNDS = 600_000;
const NONCE_LENGTH = 12;
const PADDING_MULTIPLE = 256;
const VERSION = Uint8Array.of(1);

const utf8 = (text) => new TextEncoder().encode(text);
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));

/** The sealed bytes cannot be opened with this lock. The error says nothing about the message. */
export class SealingError extends Error {}

/** Whether this page can seal: browsers have WebCrypto only on secure origins. */
export const canSeal = () => globalThis.crypto?.subtle !== undefined;

/** 22 characters, drawn uniformly: bytes from 248 (4 * 62) up are discarded. */
export function newSecret() {
  let secret = "";
  while (secret.length < SECRET_LENGTH) {
    const [byte] = crypto.getRandomValues(new Uint8Array(1));
    if (byte < 248) secret += ALPHABET[byte % 62];
  }
  return secret;
}

/** The secret and its two check characters, as in a link. */
export async function tokenOf(secret) {
  const n = new DataView((await sha256(utf8(secret))).buffer).getUint32(0) % 62 ** 2;
  return secret + ALPHABET[Math.floor(n / 62)] + ALPHABET[n % 62];
}

/** Whether a token is complete. Says nothing about any note. */
export async function isToken(text) {
  if (!/^[0-9A-Za-z]{24}$/.test(text)) return false;
  return !canSeal() || (await tokenOf(text.slice(0, SECRET_LENGTH))) === text;
}

/** Derive the seal key, the proof and the verifier from a token and its passphrase, which may be empty. */
export async function lockOf(token, passphrase) {
  const secret = utf8(token.slice(0, SECRET_LENGTH));
  const stretched = passphrase ? await stretch(secret, utf8(passphrase.normalize("NFKC"))) : new Uint8Array();
  const ikm = await crypto.subtle.importKey("raw", joined(secret, stretched), "HKDF", false, ["deriveBits"]);
  const [key, proof] = await Promise.all([derive(ikm, "seal"), derive(ikm, "reveal")]);
  const sealKey = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]);
  return { sealKey, proof: toText(proof), verifier: toText(await sha256(proof)) };
}

async function stretch(salt, words) {
  const key = await crypto.subtle.importKey("raw", words, "PBKDF2", false, ["deriveBits"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt, iterations: STRETCH_ROUNDS };
  return new Uint8Array(await crypto.subtle.deriveBits(how, key, 256));
}

async function derive(ikm, purpose) {
  const info = utf8(`note-whisperer/1 ${purpose}`);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  return new Uint8Array(await crypto.subtle.deriveBits(how, ikm, 256));
}

/** Pad and encrypt; gives base64url. Only tests that compare with vectors pass a nonce. */
export async function seal({ sealKey }, message, nonce = newNonce()) {
  const text = utf8(message);
  const padded = new Uint8Array((Math.floor(text.length / PADDING_MULTIPLE) + 1) * PADDING_MULTIPLE);
  padded.set(text);
  padded[text.length] = 0x80;
  const encrypted = await crypto.subtle.encrypt(gcm(nonce), sealKey, padded);
  return toText(joined(VERSION, nonce, new Uint8Array(encrypted)));
}

const newNonce = () => crypto.getRandomValues(new Uint8Array(NONCE_LENGTH));

/** Decrypt the result of `seal`, or throw a SealingError. */
export async function open({ sealKey }, sealed) {
  try {
    const bytes = fromText(sealed);
    if (bytes[0] !== VERSION[0]) throw new SealingError();
    const nonce = bytes.subarray(1, 1 + NONCE_LENGTH);
    const encrypted = bytes.subarray(1 + NONCE_LENGTH);
    const padded = new Uint8Array(await crypto.subtle.decrypt(gcm(nonce), sealKey, encrypted));
    const end = padded.findLastIndex((byte) => byte !== 0);
    if (padded[end] !== 0x80) throw new SealingError();
    // A byte order mark is part of the message.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(padded.subarray(0, end));
  } catch {
    throw new SealingError("sealed with another token, or malformed");
  }
}

const gcm = (iv) => ({ name: "AES-GCM", iv, additionalData: VERSION });

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Base64url without padding. */
export function toText(bytes) {
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromText(text) {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
}
