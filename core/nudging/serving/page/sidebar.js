// The list of conversations.

import { button, element } from './dom.js'

export class Sidebar {
  /**
   * @param list the element
   * @param options.open called with a conversation's id
   * @param options.rename called with an id and the new title
   * @param options.remove called with an id
   */
  constructor(list, options) {
    this.list = list
    this.options = options
  }

  show(conversations, current) {
    this.list.replaceChildren(...conversations.map(conversation => this.#item(conversation, conversation.id === current)))
  }

  /** Focus the button of a conversation. Return false if there is none. */
  focus(id) {
    const item = this.list.querySelector(`[data-id="${CSS.escape(id)}"] button`)
    item?.focus()
    return Boolean(item)
  }

  #item({ id, title }, isCurrent) {
    const item = element('li', { 'data-id': id })
    const open = element('button', { type: 'button', className: 'open', text: title, on: { click: () => this.options.open(id) } })
    if (isCurrent) open.setAttribute('aria-current', 'page')
    item.append(open,
      button('Rename', () => this.#rename(item, id, title), { 'aria-label': `Rename ${title}` }),
      button('Delete', () => this.options.remove(id), { 'aria-label': `Delete ${title}` }))
    return item
  }

  #rename(item, id, title) {
    const field = element('input', { 'aria-label': 'Title', maxlength: '200' })
    field.value = title
    let ended = false
    const end = (newTitle, refocus) => {
      if (ended) return
      ended = true
      this.options.rename(id, newTitle.trim() || title)
      if (refocus) this.focus(id)
    }
    field.addEventListener('keydown', event => {
      if (event.key !== 'Enter' && event.key !== 'Escape') return
      event.preventDefault() // Enter would press the button that gets the focus
      event.stopPropagation()
      end(event.key === 'Enter' ? field.value : title, true)
    })
    field.addEventListener('blur', () => end(field.value, false))
    item.replaceChildren(field)
    field.select()
  }
}
