// Scrolls along with new text, but only while the reader is at the end of the page.

const NEAR = 48 // pixels

export class Follower {
  #following = true

  /** @param button shown while new text arrives out of sight */
  constructor(button) {
    this.button = button
    addEventListener('scroll', () => this.#look(), { passive: true })
    button.addEventListener('click', () => this.jump())
  }

  /** Keep the end of the page in sight, if it was. `isNew` is true if text was added. */
  follow(isNew = false) {
    const page = document.documentElement
    if (this.#following) page.scrollTop = page.scrollHeight
    else if (isNew) this.button.hidden = this.#isAtEnd()
  }

  jump() {
    this.#following = true
    this.button.hidden = true
    this.follow()
  }

  #look() {
    this.#following = this.#isAtEnd()
    if (this.#following) this.button.hidden = true
  }

  #isAtEnd() {
    const page = document.documentElement
    return page.scrollHeight - page.scrollTop - page.clientHeight < NEAR
  }
}
