// Label matchers as Alertmanager writes them: {alertname="Down", "service.name"=~"api.*", zone!="b"}.

/** @import {Matcher} from "./types.js" */

/** Characters that a name or value may not have outside quotes. */
const reserved = /[\s\u0085{}!=~,\\"'`]/;

/** @type {Record<string, string>} */
const escapes = { a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v", "\\": "\\", '"': '"' };

/** Bytes that an escape stands for: \xff, \377, \u00ff or \U000000ff. */
const numeric = /^(?:x([0-9a-fA-F]{2})|([0-3][0-7]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/;

export class MatcherError extends Error {}

/**
 * Reads matchers with Alertmanager's own grammar. Braces may be left out, and so may quotes where nothing needs them.
 * @param {string} text
 * @returns {Matcher[]}
 * @throws {MatcherError} which names the position
 */
export function parseMatchers(text) {
  let at = 0;
  /** @type {(what: string) => never} */
  const fail = (what) => {
    throw new MatcherError(`position ${at + 1}: ${what}`);
  };
  const skip = () => {
    while (at < text.length && /[\s\u0085]/.test(text[at] ?? "")) at++;
  };
  const accept = (/** @type {string} */ token) => {
    skip();
    if (!text.startsWith(token, at)) return false;
    at += token.length;
    return true;
  };

  /** @param {string} what */
  function word(what) {
    skip();
    if (text[at] === '"') return quoted();
    const start = at;
    while (at < text.length && !reserved.test(text[at] ?? "")) at++;
    return at > start ? text.slice(start, at) : fail(`expected ${what}`);
  }

  function quoted() {
    const start = at;
    for (at++; text[at] !== '"'; at++) {
      if (text[at] === "\\") at++;
      if (at >= text.length) {
        at = start;
        fail("the closing quote is missing");
      }
    }
    at++;
    return unquote(text.slice(start + 1, at - 1)) ?? ((at = start), fail("invalid escape or UTF-8 in the quoted text"));
  }

  /** @type {Matcher[]} */
  const matchers = [];
  const braces = accept("{");
  for (skip(); at < text.length && text[at] !== "}"; skip()) {
    const name = word("a label name");
    const operator = ["=~", "!=", "!~", "="].find(accept) ?? fail("expected one of = != =~ !~");
    matchers.push({ name, value: word("a label value"), isRegex: operator.endsWith("~"), isEqual: operator.startsWith("=") });
    if (!accept(",")) break;
  }
  if (braces && !accept("}")) fail("expected , or }");
  skip();
  if (at < text.length) fail(braces ? "unexpected text after }" : "expected a comma");
  return matchers;
}

/**
 * @param {string} text between the quotes
 * @returns {string | null} null where an escape is none, or what they give is not UTF-8
 */
function unquote(text) {
  if (text.includes("\n")) return null;
  const encoder = new TextEncoder();
  /** @type {number[]} */
  const bytes = [];
  for (let i = 0; i < text.length; ) {
    if (text[i] !== "\\") {
      const char = String.fromCodePoint(text.codePointAt(i) ?? 0);
      bytes.push(...encoder.encode(char));
      i += char.length;
      continue;
    }
    const plain = escapes[text[i + 1] ?? ""];
    if (plain !== undefined) {
      bytes.push(...encoder.encode(plain));
      i += 2;
      continue;
    }
    const match = numeric.exec(text.slice(i + 1));
    if (!match) return null;
    const [all, hex, octal, short, long] = match;
    const code = Number.parseInt(hex ?? short ?? long ?? octal ?? "", octal === undefined ? 16 : 8);
    if (hex !== undefined || octal !== undefined) bytes.push(code);
    else if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return null;
    else bytes.push(...encoder.encode(String.fromCodePoint(code)));
    i += 1 + all.length;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    return null;
  }
}

/**
 * One matcher in the form that Alertmanager's API takes as a filter.
 * @param {Matcher} matcher
 */
export function formatMatcher({ name, value, isRegex, isEqual }) {
  const operator = isEqual === false ? (isRegex ? "!~" : "!=") : isRegex ? "=~" : "=";
  return (/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : quote(name)) + operator + quote(value);
}

/** @param {string} text */
function quote(text) {
  return `"${text.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}

/** @param {Matcher[]} matchers */
export function formatMatchers(matchers) {
  return `{${matchers.map(formatMatcher).join(", ")}}`;
}
