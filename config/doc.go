// Package config owns klinghook's settings: their names, meanings, units and
// defaults, how they are read, and what is wrong with them.
//
// A setting is one field of [Config]. Its tags say all there is to say of it,
// and [Settings] tells it to whoever makes flags, help texts or tables, so that
// a new setting of a form that exists is one line. [Load] reads the settings of
// one [Role]; what a role does not use is left out of its Config, so that the
// public process never holds the database's password. A value comes from the
// first of these that has one: a flag, the environment, the default. A secret
// may also stand in a file that <NAME>_FILE names. An empty variable counts as
// not set.
//
// Load reports every problem at once, as an [*Error] whose lines each name the
// variable, what is wrong, and what to write instead. No secret appears in
// them, nor in what [Config.Value] returns.
//
// The package reads the files that _FILE variables name and nothing else: it
// opens no connection, makes no directory, and is handed the environment. It
// knows none of klinghook's other packages, and only the commands import it.
package config
