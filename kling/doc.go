// Package kling is a client of Kling's API: it registers webhooks.
//
// The call and its answer are the seed protocol's; error codes are those that
// Kling documents today. The package knows nothing of webhooks that arrive, keeps
// nothing, logs nothing and reads no environment; it retries nothing either, but
// says of every [APIError] whether the caller may.
//
// The API key goes to the configured host alone, over https unless that host is
// this machine. Redirects are not followed, and the key is in no error. A proxy
// set by HTTPS_PROXY and its siblings is honoured unless Config has a client of
// its own.
package kling
