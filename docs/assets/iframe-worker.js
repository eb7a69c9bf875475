// Pages read from a disk may start no worker, and the search is one. There a hidden frame does a worker's part: it has the
// page's origin, and messages go between the two as they would.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = Object.assign(document.createElement("iframe"), { hidden: true })
      document.body.append(this.frame)
      window.addEventListener("message", event => {
        if (event.source !== this.frame.contentWindow) return
        const message = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(message)
        this.onmessage?.(message)
      })
      const inside = this.frame.contentDocument
      inside.open()
      inside.write(
        "<script>const post = parent.postMessage.bind(parent); postMessage = data => post(data, '*')</" + "script>" +
        `<script src="${url}"></` + "script>"
      )
      inside.close()
      this.loaded = new Promise(resolve => this.frame.contentWindow.addEventListener("load", resolve))
    }
    postMessage(data) {
      this.loaded.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {
      this.frame.remove()
    }
  }
