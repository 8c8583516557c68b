// Package compose holds the tests of compose.yaml: that Compose reads it as it is
// meant, with every profile, and, with COMPOSE_TEST=1, that the stack does what it
// promises on the engine of this machine. It is a module of its own, so that
// Compose's loader is no dependency of klinghook.
package compose
