// The colours: those of the system, or the reader's choice. Loaded before the page is shown.

import { SafeStorage } from './storage.js'

const KEY = 'nudging/theme'
const storage = new SafeStorage('localStorage')

export function theme() {
  const kept = storage.get(KEY)
  return ['light', 'dark'].includes(kept) ? kept : ''
}

export function setTheme(name) {
  storage.set(KEY, name)
  document.documentElement.dataset.theme = name
}

document.documentElement.dataset.theme = theme()
