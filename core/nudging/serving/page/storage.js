// The browser's storage, which may be forbidden, full, or shared with another tab.

/** Keys and texts in `localStorage` or `sessionStorage`; in memory where the browser refuses. */
export class SafeStorage {
  #memory = new Map()
  #name

  constructor(name) {
    this.#name = name
  }

  get(key) {
    return this.#memory.get(key) ?? this.#try(storage => storage.getItem(key)) ?? null
  }

  /** Keep a text. Return false if it is kept in memory only. */
  set(key, text) {
    const kept = this.#try(storage => { storage.setItem(key, text); return true }) ?? false
    if (kept) this.#memory.delete(key)
    else this.#memory.set(key, text)
    return kept
  }

  remove(key) {
    this.#memory.delete(key)
    this.#try(storage => storage.removeItem(key))
  }

  keys() {
    return [...new Set([...(this.#try(storage => Object.keys(storage)) ?? []), ...this.#memory.keys()])]
  }

  #try(action) {
    try {
      return action(window[this.#name])
    } catch {
      return undefined
    }
  }
}

/** Return the value of a JSON text, or null if it is none. */
export function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
