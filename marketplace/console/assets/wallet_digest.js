// What is signed as one number: Keccak-256 of the contract's words and of EIP-712's, for comparing them with what
// the service says and what a hardware wallet shows. A module, as the library is one.
import { keccak_256 } from "./noble_sha3.js";

const hex = (bytes) => "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const text = (value) => hex(keccak_256(new TextEncoder().encode(value)));
const bytes = (digits) => Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16));
const word = (value) => BigInt(value).toString(16).padStart(64, "0");

/** keccak256(abi.encode(...)) of values that have one word each: addresses, bytes32, unsigned numbers, bool. */
export const hashWords = (...values) => hex(keccak_256(bytes(values.map(word).join(""))));

/** The three hashes of EIP-712. fields: of the message's type, each of one word. */
export function hashTyped(domain, name, fields, message) {
  const type = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
  const separator = hashWords(text(type), text(domain.name), text(domain.version), domain.chainId, domain.verifyingContract);
  const spelled = `${name}(${fields.map((field) => `${field.type} ${field.name}`).join(",")})`;
  const struct = hashWords(text(spelled), ...fields.map((field) => message[field.name]));
  const digest = hex(keccak_256(bytes("1901" + separator.slice(2) + struct.slice(2))));
  return { domain: separator, message: struct, digest };
}
