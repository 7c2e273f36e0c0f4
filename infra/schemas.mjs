// Check KEDA and Argo documents, a JSON array on standard input: values by the schemas, and
// unknown fields, which the schemas let pass, by the compiler.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { CronWorkflow, WorkflowTemplate } from "@kubernetes-models/argo-workflows/argoproj.io/v1alpha1";
import { ScaledJob } from "@kubernetes-models/keda/keda.sh/v1alpha1";

const KINDS = {
  CronWorkflow: [CronWorkflow, "@kubernetes-models/argo-workflows/argoproj.io/v1alpha1"],
  ScaledJob: [ScaledJob, "@kubernetes-models/keda/keda.sh/v1alpha1"],
  WorkflowTemplate: [WorkflowTemplate, "@kubernetes-models/argo-workflows/argoproj.io/v1alpha1"],
};

function typeErrors(documents) {
  const file = join(import.meta.dirname, "documents.ts"); // never written
  const imports = Object.entries(KINDS).map(([kind, [, place]]) => `import { I${kind} } from "${place}";`);
  const values = documents.map(
    (document, i) => `export const d${i}: I${document.kind} = ${JSON.stringify(document, null, 1)};`,
  );
  const text = [...imports, ...values].join("\n");
  const options = { noEmit: true, strict: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, types: [] };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => name === file || fileExists(name);
  host.getSourceFile = (name, version) =>
    name === file ? ts.createSourceFile(name, text, version) : getSourceFile(name, version);
  const found = ts.getPreEmitDiagnostics(ts.createProgram([file], options, host));
  return found.map((one) => ts.flattenDiagnosticMessageText(one.messageText, " "));
}

const documents = JSON.parse(readFileSync(0, "utf8"));
const errors = [];
for (const document of documents) {
  try {
    new KINDS[document.kind][0](document).validate();
  } catch (error) {
    errors.push(error.message);
  }
}
errors.push(...typeErrors(documents));
for (const error of errors) console.log(error);
console.log(`${documents.length} documents, ${errors.length} errors`);
process.exit(errors.length ? 1 : 0);
