// A panel beside the conversation. Where there is no room for it, it covers the page while it is open.

export class Panel {
  /**
   * @param panel the element
   * @param opener the button that opens and closes it
   * @param wide a media query: there is room beside the conversation
   * @param covered the element that is covered otherwise
   */
  constructor(panel, opener, wide, covered) {
    Object.assign(this, { panel, opener, wide: matchMedia(wide), covered })
    opener.addEventListener('click', () => this.set(!this.isOpen))
    panel.querySelector('.close').addEventListener('click', () => this.close())
    panel.addEventListener('keydown', event => {
      if (event.key !== 'Escape' || this.wide.matches) return
      event.stopPropagation()
      this.close()
    })
    this.wide.addEventListener('change', () => this.set(this.wide.matches))
    this.set(this.wide.matches)
  }

  get isOpen() {
    return !this.panel.hidden
  }

  get isCovering() {
    return this.isOpen && !this.wide.matches
  }

  set(open) {
    this.panel.hidden = !open
    this.opener.setAttribute('aria-expanded', open)
    this.covered.inert = this.isCovering
    if (this.isCovering) this.panel.querySelector('.close').focus()
  }

  close() {
    this.set(false)
    this.opener.focus()
  }

  /** Close the panel if it covers the page. */
  uncover() {
    if (this.isCovering) this.set(false)
  }
}
