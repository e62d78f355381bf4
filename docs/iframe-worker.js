// A page that is opened from a folder may start no worker, and material searches in one. There, the worker's script runs in
// a hidden frame of the page. (The name keeps material's plugin `offline` from asking the network for another such script.)
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      this.scope = new Promise((ready) => {
        const start = () => {
          document.body.append(frame);
          const scope = frame.contentWindow;
          scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          // Each script has run when the promise is kept.
          const run = (url) => new Promise((done) => {
            const script = scope.document.createElement("script");
            script.src = url;
            script.onload = done;
            scope.document.head.append(script);
          });
          scope.importScripts = (...urls) => Promise.all(urls.map(run));
          run(new URL(address, location)).then(() => ready(scope));
        };
        document.body ? start() : addEventListener("DOMContentLoaded", start);
      });
    }
    postMessage(data) {
      this.scope.then((scope) => scope.dispatchEvent(new scope.MessageEvent("message", { data })));
    }
  };
