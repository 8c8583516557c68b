// Command contestant is what klinghook is measured beside, each as a process of its
// own:
//
//	contestant echo   -addr host:port                  answers 200 and throws the body away
//	contestant plain  -addr host:port -redis host:port Echo, an HMAC check and asynq's client
//	contestant drain  -redis host:port -queue name     asynq's server with a handler that does nothing
//	contestant delay  -addr host:port -to host:port    a proxy that delays each direction
//
// They are what a user would write in an afternoon: no metrics, no limits, no spool.
// express.js and flask_app.py beside it are the receivers that Kling's users start
// from.
package main
