// Files of a new message: a list of what was chosen, and their upload with its progress. compose.js loads this
// script with the first file, and calls `sealFiles` of the form when the message is sent.

import { MAX_FILES, Refusal, answerOf, upload } from "./files.js";
import { inBytes, progressOf } from "./progress.js";

/** Adds files to the form. */
export function attach(form, files) {
  const box = form.querySelector("[data-files]");
  box.attached ??= new Attached(form, box);
  box.attached.add(files);
}

class Attached {
  files = [];

  constructor(form, box) {
    this.form = form;
    this.box = box;
    this.list = box.querySelector("ul");
    this.row = box.querySelector("template").content;
    this.problem = document.getElementById("problem-files");
    form.sealFiles = (...sealed) => this.seal(...sealed);
    // Sent again if its answer is lost: the server knows the upload, and finds the note that it belongs to.
    form.fetchNote = (url, request) => (this.files.length ? answerOf(url, request).catch(asAnswer) : fetch(url, request));
    form.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
      if (this.files.length) ctx.request.timeout = 3_600_000; // the server keeps an upload for an hour
    });
    // What went wrong stands beside the files; "the server did not answer" would be wrong.
    form.addEventListener("htmx:error", (event) => {
      if (this.told) event.stopPropagation();
      this.told = false;
    });
    addEventListener("beforeunload", (event) => {
      if (form.isConnected && this.files.length) event.preventDefault();
    });
  }

  add(files) {
    const { maxBytes } = this.box.dataset;
    const all = [...this.files, ...files];
    if (all.length > MAX_FILES) return this.say("many");
    if (all.reduce((sum, { size }) => sum + size, 0) > Number(maxBytes)) return this.say("large");
    this.problem.replaceChildren();
    this.files = all;
    for (const file of files) {
      const row = this.row.cloneNode(true).firstElementChild;
      row.querySelector("[data-name]").textContent = file.name;
      row.querySelector("[data-size]").textContent = inBytes(file.size);
      const remove = row.querySelector("button");
      remove.setAttribute("aria-label", remove.getAttribute("aria-label").replace("{name}", () => file.name));
      remove.addEventListener("click", () => this.remove(file, row));
      this.list.append(row);
    }
    this.changed();
  }

  remove(file, row) {
    this.files = this.files.filter((other) => other !== file);
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (next ?? this.box).querySelector("button, input").focus();
    this.changed();
  }

  changed() {
    const { message } = this.form.elements;
    message.required = !this.files.length;
    this.list.hidden = !this.files.length;
  }

  say(what) {
    this.problem.textContent = this.problem.dataset[what];
  }

  /** The sealed note and its upload, or null if there are no files. */
  async seal(keys, message) {
    if (!this.files.length) return null;
    const stop = new AbortController();
    const progress = progressOf(this.box.querySelector("[data-progress]"), () => stop.abort());
    try {
      const how = { signal: stop.signal, onProgress: progress.show, onLost: progress.lost };
      return await upload(keys, message, this.files, how);
    } catch (error) {
      this.told = true;
      if (stop.signal.aborted) this.say("cancelled");
      else if (error instanceof Refusal && error.message) this.problem.textContent = error.message;
      else this.say("unread");
      throw error;
    } finally {
      progress.hide();
    }
  }
}

function asAnswer(error) {
  if (error instanceof Refusal) return error.answer;
  throw error;
}
