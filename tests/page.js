// A page of a notebook in some program, without a browser: `node page.js PLACE < script` runs the
// script there twice, as two cells would, for as many ticks as its timers ask for (200 at most).
// Prints how many there were, what was thrown, and what was done to the page.
const fs = require('fs')
const vm = require('vm')

const done = []
const errors = []

class Element {
  constructor(around = {}) {
    this.around = around
  }
  closest(selector) {
    return this.around[selector] ?? null
  }
}

class Cell {
  constructor(prompt, height) {
    this.prompt = prompt
    this.offsetHeight = height
  }
  querySelector(selector) {
    return selector === '.jp-InputPrompt' ? this.prompt : null
  }
  scrollIntoView() {
    done.push('into view')
  }
}

const running = {textContent: '[*]:'}
const finished = {textContent: '[3]:'}
const panel = {
  clientHeight: 100,
  get scrollTop() {
    return 0
  },
  set scrollTop(value) {
    done.push(value)
  },
}

const inLab = (cell, outer = panel) =>
  new Element({'.jp-Cell': cell, '.jp-WindowedPanel-outer': outer})

const failing = new Element()
failing.closest = () => {
  throw new Error('gone')
}
const old = new Element()
old.closest = undefined
const jQuery = {0: inLab(new Cell(running, 50)), length: 1}
jQuery.closest = () => jQuery

// What `element` is in each place; elsewhere, there's no such variable.
const places = {
  'running': inLab(new Cell(running, 50)),
  'running, not laid out': inLab(new Cell(running, 0)),
  'running, not laid out, no panel': inLab(new Cell(running, 0), null),
  'finished': inLab(new Cell(finished, 50)),
  'a cell without a prompt': inLab(new Cell(null, 50)),
  'no cell': inLab(null),
  'fails': failing,
  'an old browser': old,
  'jQuery': jQuery,
  'a list': [inLab(new Cell(running, 50))],
  'a string': 'element',
  'null': null,
  'undefined': undefined,
}

const timers = new Map()
const page = {
  Element,
  setInterval(action) {
    timers.set(timers.size + 1, action)
    return timers.size
  },
  clearInterval(timer) {
    timers.delete(timer)
  },
}
const place = process.argv[2]
if (place in places) page.element = places[place]
if (place === 'no page') delete page.Element
const context = vm.createContext(page)
const script = fs.readFileSync(0, 'utf-8')

const attempt = action => {
  try {
    action()
  } catch (error) {
    errors.push(String(error))
  }
}
let ticks = 0
for (const run of [1, 2]) {
  attempt(() => vm.runInContext(script, context))
  while (timers.size > 0 && ticks < 200) {
    ticks += 1
    for (const action of [...timers.values()]) attempt(action)
  }
}
console.log(JSON.stringify({ticks, done, errors}))
