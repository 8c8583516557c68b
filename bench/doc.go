// Command bench measures klinghook beside what a user would pick instead, on this
// machine and in one run, and writes the report:
//
//	make bench              all of it, twenty minutes, into docs/PERFORMANCE.md
//	make bench SOAK=10m     the same, and ten minutes of half the saturation rate
//	make bench ONLY=growth  one section; the others stay as they were
//	make bench-short        whether everything works, two minutes; no report
//
// It is a module of its own, so that what it measures with is in nobody's go.mod.
// It starts all servers itself, on loopback and with data of their own, and stops
// them.
package main
