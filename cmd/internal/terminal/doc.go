// Package terminal is what the commands write to where a person may look on: whole
// lines and, below them, the bars of what takes long. Where nobody does, the lines
// are written as they are, and there are no bars. klinghook-ingest does not link it.
package terminal
