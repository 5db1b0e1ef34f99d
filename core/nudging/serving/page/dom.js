// Elements of the page.

export const $ = id => document.getElementById(id)

/** Return a new element. Text is never read as HTML. */
export function element(tag, { text, className, on, ...attributes } = {}, ...children) {
  const result = document.createElement(tag)
  if (className) result.className = className
  if (text !== undefined) result.textContent = text
  for (const [name, value] of Object.entries(attributes)) result.setAttribute(name, value)
  for (const [event, listener] of Object.entries(on ?? {})) result.addEventListener(event, listener)
  result.append(...children)
  return result
}

export function button(text, click, attributes = {}) {
  return element('button', { type: 'button', className: 'quiet', text, on: { click }, ...attributes })
}

/** Submit the form of a text field on Enter. Shift+Enter makes a new line, and Enter may end a composed character. */
export function submitOnEnter(field) {
  field.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    field.form.requestSubmit()
  })
}
