// The controls of an answer. An empty control means the server's setting.

import { $ } from './dom.js'
import { parsed } from './storage.js'

const KEY = 'nudging/settings'
const NUMBERS = ['threshold', 'bet', 'end', 'max_tokens', 'temperature']
const SWITCHES = ['compare', 'confidence']
const FIELDS = ['rule', ...NUMBERS]

export class Settings {
  #defaults = {}

  /**
   * @param storage where the controls are kept
   * @param changed called after every change
   */
  constructor(storage, changed) {
    this.storage = storage
    this.changed = changed
    this.#load()
    $('controls').addEventListener('input', () => this.#keep())
    $('controls').addEventListener('reset', () => setTimeout(() => this.#keep())) // after the controls are empty
    $('controls').addEventListener('submit', event => event.preventDefault())
    for (const name of SWITCHES) $(name).addEventListener('change', () => this.#keep())
    this.#show()
  }

  /** Show the server's settings in the empty controls. */
  setDefaults(defaults) {
    this.#defaults = defaults
    for (const name of NUMBERS) $(name).placeholder = defaults[name] ?? 'the server’s'
    $('rule').options[0].textContent = defaults.rule ? `${defaults.rule} (the server’s)` : 'the server’s'
    this.#show()
  }

  get compare() {
    return $('compare').checked
  }

  get confidence() {
    return $('confidence').checked
  }

  /** The settings of a request: those that are not the server's. */
  get chosen() {
    const chosen = Object.fromEntries(Object.entries(this.#values()).filter(([name]) => name !== this.#unread))
    if (this.confidence) chosen.logprobs = true
    return chosen
  }

  /** The rule of an answer and its number, in words, where they are known. */
  get description() {
    const name = this.#unread === 'bet' ? 'threshold' : 'bet'
    const settings = { ...this.#defaults, ...this.#values() }
    if (settings.rule === undefined) return settings[name] === undefined ? '' : `${name} ${settings[name]}`
    return settings[name] === undefined ? settings.rule : `${settings.rule}, ${name} ${settings[name]}`
  }

  /** The number that the rule does not read. */
  get #unread() {
    return ($('rule').value || this.#defaults.rule) === 'bet' ? 'threshold' : 'bet'
  }

  /** Return the values of the controls that are filled and valid, by name. */
  #values() {
    const filled = FIELDS.filter(name => $(name).value !== '' && $(name).validity.valid)
    return Object.fromEntries(filled.map(name => [name, name === 'rule' ? $(name).value : Number($(name).value)]))
  }

  #load() {
    const kept = parsed(this.storage.get(KEY)) ?? {}
    for (const name of FIELDS) if (kept[name] !== undefined) $(name).value = kept[name]
    for (const name of SWITCHES) $(name).checked = kept[name] === true
  }

  #keep() {
    const switches = Object.fromEntries(SWITCHES.map(name => [name, $(name).checked]))
    this.storage.set(KEY, JSON.stringify({ ...this.#values(), ...switches }))
    this.#show()
    this.changed()
  }

  #show() {
    for (const name of NUMBERS) {
      const field = $(name)
      field.closest('.field').hidden = name === this.#unread
      if (field.validity.valid) field.removeAttribute('aria-invalid')
      else field.setAttribute('aria-invalid', 'true')
    }
    $('scale').hidden = !this.confidence
  }
}
