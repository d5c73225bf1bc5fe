// Write arw packs in AssemblyScript:
//
//   import { Fields, kv, Record, tool } from "arw";
//   export { arw_alloc, arw_call } from "arw";
//
//   class Greeting extends Record {
//     name: string = "";
//     fields(f: Fields): void { this.name = f.text("name", this.name); }
//   }
//   class Reply extends Record {
//     text: string = "";
//     fields(f: Fields): void { this.text = f.text("text", this.text); }
//   }
//   tool<Greeting, Reply>("hello.greet", (input) => {
//     const reply = new Reply();
//     reply.text = "Hello, " + input.name + "!";
//     return reply;
//   });
//
// Code at the top of the module runs once, before the state is kept that every call starts from. The language has no
// exceptions to catch: a function that can fail answers null or false, and failure() then says why. A tool fails by
// returning fail(...), or null after a function that failed. README.md tells the rest.
export { Code, Failure, fail, failCode, failWith, failure } from "./arw/error";
export { Fields, Json, Record } from "./arw/json";
export { action, Answer, archive, clock, config, event, fs, FileDraft, FileReader, http, infer, HttpMessage, HttpRequest, HttpResponse, FileEntry, FilePage, kv, Batch, KeyEntry, KeyPage, log, rand, Reply as ActionReply, secret, state, stream, UnpackRequest, Unpacked } from "./arw/host";
export { arw_alloc, arw_call, bytesTool, jsonTool, tool, utf8, text } from "./arw/tools";
