// One answer on the page. It is rendered at most once per frame, and only the blocks that changed are replaced.

import { nudgedShare, percent, runsOf, textOf, tokenTable } from './answer.js'
import { copy } from './clipboard.js'
import { button, element } from './dom.js'
import { renderBlocks } from './markdown.js'

const ENDS = {
  stop: '',
  length: 'cut at max_tokens',
  content_filter: 'cut by a content filter',
  tool_calls: 'ends with a tool call',
  stopped: 'stopped by you',
  interrupted: 'interrupted',
}

export class AnswerView {
  #blocks = [] // the HTML of each block on the page
  #frame = null
  #ticking = null

  /**
   * @param answer the data, as in answer.js
   * @param options.title the heading, and `options.model` a name below it
   * @param options.confidence returns true if tokens are shaded
   * @param options.rendered called after every change of the page
   * @param options.retry called by the button
   */
  constructor(answer, options) {
    this.answer = answer
    this.options = options
    this.text = element('div', { className: 'text' })
    this.waiting = element('p', { className: 'waiting', 'aria-hidden': 'true' })
    this.error = element('p', { className: 'error' })
    this.meta = element('p', { className: 'meta' })
    this.table = element('details', { className: 'tokens', on: { toggle: () => this.#fillTable() } },
      element('summary', { text: 'Probabilities' }))
    this.copyButton = button('Copy', () => this.#copy())
    this.actions = element('div', { className: 'actions' }, this.copyButton,
      button('Retry', options.retry, { className: 'quiet retry' }))
    this.element = element('section', { className: `answer ${answer.mode}` },
      element('h3', { text: options.title }),
      element('p', { className: 'model', text: options.model ?? '' }),
      this.text, this.waiting, this.error,
      element('div', { className: 'foot' }, this.meta, this.actions), this.table)
    this.render()
  }

  /** Show that the answer is being written, until `finish`. */
  start() {
    const started = performance.now()
    const tick = () => {
      this.waiting.textContent = `reading the prompt … ${Math.round((performance.now() - started) / 1000)} s`
    }
    tick()
    this.#ticking = setInterval(tick, 500)
    this.element.setAttribute('aria-busy', 'true')
  }

  /** Render in the next frame. */
  update() {
    this.#frame ??= requestAnimationFrame(() => this.render())
  }

  finish() {
    this.#stopWaiting()
    this.element.removeAttribute('aria-busy')
    this.render()
  }

  render() {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame)
    this.#frame = null
    const confidence = this.options.confidence()
    this.#showBlocks(renderBlocks(textOf(this.answer), runsOf(this.answer, confidence)))
    if (this.answer.pieces.length) this.#stopWaiting()
    this.error.textContent = this.answer.error ?? ''
    const ended = this.answer.finish !== null || this.answer.error !== null
    this.meta.textContent = ended ? this.#summary() : ''
    this.actions.hidden = !ended
    this.copyButton.hidden = !this.answer.pieces.length
    this.table.hidden = !(ended && confidence && this.answer.tokens.length)
    this.options.rendered()
  }

  #stopWaiting() {
    clearInterval(this.#ticking)
    this.waiting.textContent = ''
  }

  #showBlocks(blocks) {
    blocks.forEach((html, index) => {
      if (this.#blocks[index] === html) return
      const template = document.createElement('template')
      template.innerHTML = html
      const block = template.content.firstElementChild
      if (index < this.#blocks.length) this.text.children[index].replaceWith(block)
      else this.text.append(block)
    })
    while (this.text.children.length > blocks.length) this.text.lastElementChild.remove()
    this.#blocks = blocks
  }

  #summary() {
    const { answer } = this
    if (!answer.pieces.length && answer.error !== null) return ''
    const end = ENDS[answer.finish] ?? answer.finish ?? ''
    return [
      answer.usage === undefined ? '' : `${answer.usage} ${answer.usage === 1 ? 'token' : 'tokens'}`,
      answer.mode === 'nudged' ? `${percent(nudgedShare(answer))} nudged` : '',
      answer.seconds === undefined ? '' : `${answer.seconds.toFixed(1)} s`,
      answer.mode === 'nudged' ? answer.rule ?? '' : '',
      end,
    ].filter(Boolean).join(' · ')
  }

  #fillTable() {
    const rows = tokenTable(this.answer).map(([token, author, probability]) =>
      element('tr', {},
        element('td', {}, element('code', { text: JSON.stringify(token).slice(1, -1) })),
        element('td', { text: author }),
        element('td', { text: percent(probability) })))
    const head = element('tr', {}, ...['Token', 'Author', 'Base model'].map(text => element('th', { scope: 'col', text })))
    this.table.querySelector('div')?.remove()
    if (this.table.open) {
      const table = element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows))
      this.table.append(element('div', { className: 'table', tabindex: '0' }, table))
    }
  }

  async #copy() {
    this.copyButton.textContent = await copy(textOf(this.answer)).then(() => 'Copied', () => 'Not copied')
    setTimeout(() => { this.copyButton.textContent = 'Copy' }, 1500)
  }
}
