// Package login lets users log in to the private pages by the configured methods:
//
//   - the user name and password of an operator or a viewer, stored only as a bcrypt hash;
//   - a bearer token, in a header or on the login page;
//   - a header set by an authenticating reverse proxy, accepted only from the
//     configured addresses.
//
// If no method is configured, anyone can use the pages, which is meant for a loopback
// address.
//
// Operators can do everything. Viewers can see everything and change nothing. Viewers are
// the viewer with a password, users with a viewer's token, users of the proxy that are not
// configured as operators, and all users if the pages are read-only.
//
// Sessions are kept in Redis, so that any number of processes share them. They end
// after 12 hours, at logout, and when the user, password or tokens change. Guesses are
// limited per client and user. Requests that change something are logged with the
// user's name; passwords and tokens are never logged.
package login
