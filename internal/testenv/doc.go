// Package testenv gives tests real servers: a Redis or a PostgreSQL that only
// the test has, on a free loopback port, from the packages that the machine has
// installed. Nothing is downloaded and no server that runs already is touched.
//
// A server ends with its test, and on Linux also with the test process, however
// that ends. Tests may kill it, stop it for a while and bring it back with what
// it had kept.
//
// Where a server is not installed, the test is skipped and says what to install;
// the file named by $TESTENV_SKIPS, if any, gets a line "<test>: <reason>". With
// $TESTENV_REQUIRE set to anything, it fails instead: that is how CI makes sure
// that nothing goes untested.
//
// A package whose tests use [Postgres], or start goroutines, calls [Main]:
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// The methods of the servers fail the test themselves, so they are called from
// its goroutine. The package is for tests only and knows nothing of klinghook.
package testenv
