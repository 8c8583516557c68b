// Package chaos holds the failure suite: klinghook's programs as they are built, on
// a real Redis and PostgreSQL, under load from a sender that signs, repeats and
// shuffles, beside a media server and a receiver of notifications that misbehave.
// Each scenario makes one kind of thing die, or all of them at random from a seed
// that is printed. When everything has come to rest, what is in the store, in the
// bucket and at the receiver is held against what was sent, by a model of the
// suite's own: nothing that was acknowledged may be missing, nothing may have taken
// effect twice, and nothing else may be there.
//
// It is driven from outside and imports none of klinghook's packages but those that
// start processes. The programs are the ones that are built for use; only the
// scenario of the clocks builds them with another time.Now.
//
// The suite is off in an ordinary go test. `make chaos` runs all of it, and `make
// chaos-short` its two-minute form. The environment chooses:
//
//	CHAOS=full|short  which form
//	CHAOS_SEED        a seed that an earlier run printed
//	CHAOS_SCENARIO    scenarios by name, with commas between them
//	CHAOS_REPORT      a Markdown file whose table of scenarios is to be renewed
//
// docs/RELIABILITY.md says what is promised, and has the report of a full run.
package chaos
