// Package e2e holds the end-to-end test: the programs as they are built, on a real
// Redis and on dev's embedded one, over both databases, with deliveries signed by
// code that is not klinghook's.
package e2e
