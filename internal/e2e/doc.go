// Package e2e is the end-to-end and failure suite: klinghook's programs as they are
// built, on real servers, between a sender, a media server and a receiver of its own.
// Everything is driven from outside. docs/reliability.md describes the failure
// scenarios, which run only with `make chaos` and `make chaos-short`:
//
//	CHAOS=full|short  which form
//	CHAOS_SEED        the seed of an earlier run
//	CHAOS_SCENARIO    names of scenarios, separated by commas
package e2e
