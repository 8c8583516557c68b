// Package testenv gives tests real servers: a Redis or a PostgreSQL that only the
// test uses, on a free loopback port, from the packages installed on the machine.
// Nothing is downloaded, and no server that already runs is touched.
//
// A server ends with its test, and on Linux also with the test process, even if that is
// killed. Tests may kill a server, pause it, and restart it with its stored data.
//
// If a server is not installed, the test is skipped and says what to install; the
// file named by $TESTENV_SKIPS, if any, gets a line "<test>: <reason>". If
// $TESTENV_REQUIRE is set, the test fails instead, as in CI.
//
// A package whose tests use [Postgres], or start goroutines, calls [Main]:
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// The methods of the servers fail the test themselves, so call them from its
// goroutine. The package is for tests only and knows nothing of klinghook.
package testenv
