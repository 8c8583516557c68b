// Package login asks who wants to see the private pages, in the ways that are set:
//
//   - a user with a password, of which only the bcrypt hash is known here;
//   - a bearer token, from programs in a header and from people in the login page;
//   - the word of a reverse proxy that has logged the user in, in a header that is
//     believed from the proxy's own addresses only.
//
// Without any of them everybody is let in, which is for a loopback address.
//
// A browser that has logged in holds a random cookie, which no script can read, no
// other site can make it send, and which ends after twelve hours, at the log-out and
// with the process. Wrong passwords are slowed down by address. Passwords and tokens
// are compared in a time that tells nothing of them, and appear in no log; each
// request that changes something is logged with who made it.
package login
