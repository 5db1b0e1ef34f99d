// The questions and answers of the open conversation.

import { AnswerView } from './answer-view.js'
import { button, element, submitOnEnter } from './dom.js'

export class Transcript {
  #turns = [] // for each turn on the page: { article, views }

  /**
   * @param log the element
   * @param options.columns returns the heading and the model's name of an answer's mode
   * @param options.edit called with a turn's index and its new question
   * @param options.retry called with a turn's index
   * @param options.confidence returns true if tokens are shaded
   * @param options.rendered called after every change of an answer
   */
  constructor(log, options) {
    this.log = log
    this.options = options
  }

  show(turns) {
    this.truncate(0)
    for (const turn of turns) this.add(turn)
  }

  /** Add a turn, and return the views of its answers. */
  add(turn) {
    const index = this.#turns.length
    const views = turn.answers.map(answer => this.#answerView(answer, turn.answers.length, index))
    const question = element('div', { className: 'question' })
    this.#fillQuestion(question, turn.question, index)
    const answers = element('div', { className: 'answers', 'data-count': views.length }, ...views.map(view => view.element))
    const heading = element('h2', { className: 'hidden', text: `Question ${index + 1}` })
    const article = element('article', { className: 'turn' }, heading, question, answers)
    this.log.append(article)
    this.#turns.push({ article, views })
    return views
  }

  /** Remove the turns from this one on. */
  truncate(length) {
    for (const { article } of this.#turns.splice(length)) article.remove()
  }

  render() {
    for (const { views } of this.#turns) for (const view of views) view.render()
  }

  #answerView(answer, count, index) {
    const column = this.options.columns(answer.mode)
    return new AnswerView(answer, {
      title: count > 1 || answer.mode !== 'nudged' ? column.title : 'Answer',
      model: count > 1 ? column.model : '',
      confidence: this.options.confidence,
      rendered: this.options.rendered,
      retry: () => this.options.retry(index),
    })
  }

  #fillQuestion(question, text, index) {
    const edit = button('Edit', () => this.#editQuestion(question, text, index))
    question.replaceChildren(element('p', { text }), edit)
    return edit
  }

  #editQuestion(question, text, index) {
    const cancel = () => this.#fillQuestion(question, text, index).focus()
    const field = element('textarea', { 'aria-label': 'Edited question', rows: '1' })
    field.value = text
    const form = element('form', { className: 'edit' }, field, element('div', { className: 'row' },
      element('span', { className: 'hint', text: 'The conversation continues from here.' }),
      button('Cancel', cancel),
      element('button', { type: 'submit', text: 'Ask' })))
    form.addEventListener('submit', event => {
      event.preventDefault()
      if (field.value.trim()) this.options.edit(index, field.value.trim())
    })
    form.addEventListener('keydown', event => {
      if (event.key !== 'Escape') return
      event.stopPropagation()
      cancel()
    })
    submitOnEnter(field)
    question.replaceChildren(form)
    field.focus()
  }
}
