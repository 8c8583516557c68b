// Package clitest runs the programs' script tests, testdata/script/*.txtar, in the
// language of testscript. It is for tests only.
//
// Besides testscript's own commands the scripts have:
//
//	exits <code> <program> [arg]...   run a program; its exit code must be this
//	until <regexp> <program> [arg]... run a program again and again until it
//	                                  succeeds and its stdout matches
//	waitfile <file>                   wait until a file exists
//	address <var> <for> <log>         wait until a log tells where the program
//	                                  listens, and keep the host:port
//	field <var> <name> <file>         keep a field of a JSON object
//	http <method> <url> [file]        ask, with $AUTHORIZATION where it is set, and
//	                                  $SIGNATURE as Kling's;
//	                                  stdout is the status and the answer
//	taken <var>                       keep an address that is in use
//	redis <var> [password]            start a Redis in memory and keep its URL, without
//	                                  the password
//	kling <status> <answer-file>      start what plays Kling's API, and set
//	                                  KLINGAI_API_URL
//	asked                             stdout is what Kling's API was last asked
//	receiver <status>                 start what receives deliveries, and set
//	                                  RECEIVER
//	arrived <least>                   wait until it got at least so many
//	received <total> <distinct>       wait until it got exactly this many
//	                                  deliveries since the last time, of which so
//	                                  many are different; stdout is their paths
//	                                  and bodies in the order of their arrival
//
// An address is kept in the environment of what the script runs next.
package clitest
