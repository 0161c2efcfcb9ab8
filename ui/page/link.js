// Links of Alertmanager's own page, which stand in its messages: #/alerts?receiver=…, #/silences/new?filter=…

/** @import {Link} from "./types.js" */

/**
 * @param {string} hash of the address
 * @returns {Link | null} null when it is not such a link
 */
export function parseLink(hash) {
  const [, path = "", query = ""] = /^#\/([^?]*)\??(.*)$/s.exec(hash) ?? [];
  const params = new URLSearchParams(query);
  const link = { filter: params.get("filter") ?? "", receiver: params.get("receiver") ?? "", comment: params.get("comment") ?? "", id: "" };
  const [root, id = ""] = path.split("/");
  if (root !== "alerts" && root !== "silences") return null;
  if (root === "alerts" || id === "") return { ...link, kind: "alerts" };
  if (id === "new") return { ...link, kind: "new" };
  return { ...link, kind: "silence", id: decode(id) };
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
