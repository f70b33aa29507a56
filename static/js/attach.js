// Files of a new message: a list of what was chosen, and their upload with its progress. compose.js loads this
// script with the first file, and calls `sealFiles` of the form when the message is sent.

/** Adds files to the form. `tools` are the exports of seal.js, files.js and progress.js. */
export function attach(form, files, tools) {
  const box = form.querySelector("[data-files]");
  tools.useSealing(tools);
  box.attached ??= new Attached(form, box, tools);
  box.attached.add(files);
}

const MOST_RESUMED = 5;

class Attached {
  files = [];

  constructor(form, box, tools) {
    Object.assign(this, { form, box, tools });
    this.list = box.querySelector("ul");
    this.row = box.querySelector("template").content;
    this.problem = document.getElementById("problem-files");
    form.sealFiles = (...sealed) => this.seal(...sealed);
    // Sent again if its answer is lost: the server knows the upload, and finds the note that it belongs to.
    form.fetchNote = (url, request) => (this.files.length ? this.persistently(url, request) : fetch(url, request));
    form.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
      if (this.files.length) ctx.request.timeout = 3_600_000; // the server keeps an upload for an hour
    });
    // The page shows what went wrong beside the files; "the server did not answer" would be wrong.
    form.addEventListener("htmx:error", (event) => {
      if (this.told) event.stopPropagation();
      this.told = false;
    });
    addEventListener("beforeunload", (event) => {
      if (form.isConnected && this.files.length) event.preventDefault();
    });
  }

  async persistently(url, request) {
    for (let tries = 0; ; tries++) {
      try {
        return await this.tools.answerOf(url, request);
      } catch (error) {
        if (!(error instanceof this.tools.Refusal)) throw error;
        if (error.answer.status !== 409 || tries === MOST_RESUMED) return error.answer;
        await this.resume(); // the server has lost chunks
      }
    }
  }

  add(files) {
    const { maxBytes } = this.box.dataset;
    const all = [...this.files, ...files];
    if (all.length > this.tools.MAX_FILES) return this.say("many");
    if (all.reduce((sum, { size }) => sum + size, 0) > Number(maxBytes)) return this.say("large");
    this.problem.replaceChildren();
    this.files = all;
    for (const file of files) {
      const row = this.row.cloneNode(true).firstElementChild;
      row.querySelector("[data-name]").textContent = file.name;
      row.querySelector("[data-size]").textContent = this.tools.inBytes(file.size);
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
    const { message, readers } = this.form.elements;
    message.required = !this.files.length;
    readers.max = this.files.length ? 1 : 20; // files are uploaded for one reader
    this.list.hidden = !this.files.length;
  }

  say(what) {
    this.problem.textContent = this.problem.dataset[what];
  }

  /** The sealed note and its upload, or null if there are no files. */
  async seal(keys, message) {
    if (!this.files.length) return null;
    const stop = new AbortController();
    const { Refusal, progressOf, upload } = this.tools;
    const progress = progressOf(this.box.querySelector("[data-progress]"), () => stop.abort());
    try {
      const how = { signal: stop.signal, onProgress: progress.show, onLost: progress.lost };
      const { resume, ...fields } = await upload(keys, message, this.files, how);
      this.resume = resume;
      return fields;
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
