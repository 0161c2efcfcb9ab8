// Makes the third-party modules of the page from the lock file: `npm ci --ignore-scripts` first, then
//   node build.mjs           writes them next to this file
//   node build.mjs --check   writes nothing; fails when what is here is not what the lock file gives
//
// Each library stays a module of its own, and they import one another by relative path, so that the
// page holds exactly one Preact and the server can hash each file by itself. Types for our own modules
// come from the packages, through the small .d.ts file beside each module.

import { build } from "esbuild";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

/** One entry a module: the file it becomes, the package it comes from, what it exports. */
const modules = [
  { file: "preact", from: "preact", names: "*" },
  { file: "preact-hooks", from: "preact/hooks", names: "*" },
  { file: "htm", from: "htm", names: "default" },
  { file: "signals-core", from: "@preact/signals-core", names: "*" },
  { file: "signals", from: "@preact/signals", names: "*" },
  { file: "uplot", from: "uplot", names: "default" },
];

const fileOf = new Map(modules.map((m) => [m.from, `./${m.file}.js`]));

/** Leaves imports of the other modules in place, under the names that they have here. */
const siblings = (entry) => ({
  name: "siblings",
  setup(b) {
    b.onResolve({ filter: /^[^./]/ }, (args) => {
      if (args.path === entry && args.kind === "import-statement" && args.namespace === "file" && args.importer.endsWith("entry.js")) {
        return undefined;
      }
      const file = fileOf.get(args.path);
      if (!file) return { errors: [{ text: `${args.importer} imports ${args.path}, which is not one of our modules` }] };
      return { path: file, external: true };
    });
  },
});

const exportLine = (names, from) =>
  names === "default" ? `export { default } from "${from}";\n` : `export ${names} from "${from}";\n`;

/** @returns {Promise<Map<string, string>>} every file of this folder that is made, by name */
async function make() {
  const out = new Map();
  const packages = new Set();
  for (const m of modules) {
    const pkg = m.from.startsWith("@") ? m.from.split("/").slice(0, 2).join("/") : m.from.split("/")[0];
    packages.add(pkg);
    const { version, license } = JSON.parse(await readFile(join(here, "node_modules", pkg, "package.json"), "utf8"));
    const result = await build({
      stdin: { contents: exportLine(m.names, m.from), resolveDir: here, sourcefile: "entry.js" },
      absWorkingDir: here,
      bundle: true,
      charset: "utf8",
      format: "esm",
      legalComments: "none",
      logLevel: "error",
      minify: true,
      platform: "browser",
      plugins: [siblings(m.from)],
      target: "es2022",
      write: false,
    });
    out.set(`${m.file}.js`, `/* ${m.from} ${version}, ${license}: see LICENSES.txt */\n${result.outputFiles[0].text}`);
    out.set(`${m.file}.d.ts`, exportLine(m.names, m.from));
  }
  const uplotCSS = await build({
    entryPoints: [join(here, "node_modules/uplot/dist/uPlot.min.css")],
    absWorkingDir: here,
    legalComments: "none",
    minify: true,
    write: false,
  });
  out.set("uplot.css", uplotCSS.outputFiles[0].text);
  out.set("LICENSES.txt", await licenses([...packages].sort()));
  return out;
}

async function licenses(packages) {
  const parts = [];
  for (const name of packages) {
    const dir = join(here, "node_modules", name);
    const { version, license, repository } = JSON.parse(await readFile(join(dir, "package.json"), "utf8"));
    const file = (await readdir(dir)).find((f) => /^licen[cs]e/i.test(f));
    if (!file) throw new Error(`${name} ${version} has no licence file`);
    const url = typeof repository === "string" ? repository : repository?.url;
    const text = (await readFile(join(dir, file), "utf8")).replaceAll("\r\n", "\n").trim();
    parts.push(`${name} ${version} (${license})\n${url}\n\n${text}\n`);
  }
  return parts.join(`\n${"-".repeat(80)}\n\n`);
}

const made = await make();
if (process.argv.includes("--check")) {
  const wrong = [];
  for (const [name, text] of made) {
    const have = await readFile(join(here, name), "utf8").catch(() => null);
    if (have !== text) wrong.push(`${name} ${have === null ? "is missing" : "differs"}`);
  }
  for (const name of await readdir(here)) {
    if (/\.(js|css|d\.ts|txt)$/.test(name) && !made.has(name)) wrong.push(`${name} comes from nowhere`);
  }
  if (wrong.length > 0) {
    console.error(`ui/third_party is not what its lock file gives; run node build.mjs:\n  ${wrong.join("\n  ")}`);
    process.exit(1);
  }
  console.log(`ui/third_party: ${made.size} files are what the lock file gives`);
} else {
  for (const [name, text] of made) await writeFile(join(here, name), text);
  console.log(`ui/third_party: ${made.size} files written`);
}
