// Markup in template strings. Whatever is put into a template becomes text or an attribute, never HTML.

import htm from "../third_party/htm.js";
import { h } from "../third_party/preact.js";

/** @import {VNode} from "../third_party/preact.js" */

export const html = /** @type {(strings: TemplateStringsArray, ...values: any[]) => VNode} */ (htm.bind(h));
