// Reads an AsyncAPI document on standard input; prints what AsyncAPI's own parser has against it.
import { readFileSync } from "node:fs";
import parser from "@asyncapi/parser";

const { document, diagnostics } = await new parser.Parser().parse(readFileSync(0, "utf8"));
const said = diagnostics.map((d) => ({ severity: d.severity, code: d.code, message: d.message, path: d.path.join("/") }));
const messages = document ? document.messages().all().map((m) => m.name()) : [];
process.stdout.write(JSON.stringify({ said, messages }));
