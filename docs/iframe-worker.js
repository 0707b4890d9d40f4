/* Search runs in a worker, and browsers allow none to pages that are read from a folder (file:). There a hidden frame
   takes the worker's place: same messages, own globals. Material's own stand-in would come from another host. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = data => this.tell(this, data)
      this.inside.importScripts = (...urls) => urls.reduce((before, next) => before.then(() => this.load(next)), Promise.resolve())
      this.ready = this.load(url)
    }
    load(url) {
      return new Promise((resolve, reject) => {
        const script = this.inside.document.createElement("script")
        script.src = new URL(url, location.href)
        script.onload = resolve
        script.onerror = reject
        this.inside.document.body.append(script)
      })
    }
    tell(target, data) {
      const event = new MessageEvent("message", { data })
      target.dispatchEvent(event)
      if (target.onmessage && target === this) target.onmessage(event)
    }
    postMessage(data) {
      this.ready.then(() => this.tell(this.inside, data))
    }
    terminate() {
      this.inside.frameElement.remove()
    }
  }
}
